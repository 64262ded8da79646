use super::*;

fn queue(tickets: &[(Ticket, u64)]) -> Queue<Ticket> {
    let mut queue = Queue::new();
    for (ticket, client) in tickets {
        insert(&mut queue, *ticket, &[*client], Place::Back);
    }
    queue
}

fn insert(queue: &mut Queue<Ticket>, ticket: Ticket, clients: &[u64], place: Place) {
    queue.insert(ticket, ticket, clients.iter().copied().map(ClientTag::new), place);
}

fn drain(queue: &mut Queue<Ticket>) -> Vec<Ticket> {
    std::iter::from_fn(|| queue.pop().map(|(_, ticket)| ticket)).collect()
}

#[test]
fn clients_take_turns_and_each_is_served_oldest_first() {
    let mut queue = queue(&[(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 3)]);
    assert_eq!(drain(&mut queue), [1, 4, 6, 2, 5, 3]);
    assert!(queue.is_empty() && queue.of.is_empty() && queue.round.is_empty());
}

#[test]
fn every_other_turn_is_selkies_own() {
    let mut queue = queue(&[(1, 1), (2, 2), (3, 3), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0)]);
    assert_eq!(drain(&mut queue), [4, 1, 5, 2, 6, 3, 7, 8]);
}

#[test]
fn operation_of_several_clients_takes_the_first_turn_of_any() {
    let mut queue = queue(&[(1, 1), (2, 1), (3, 1), (4, 2)]);
    queue.list(3, ClientTag::new(3), Place::Back);
    queue.list(9, ClientTag::new(3), Place::Back);
    assert_eq!(drain(&mut queue), [1, 4, 3, 2]);
}

#[test]
fn client_that_no_longer_waits_gives_it_no_turn() {
    let mut queue = queue(&[(1, 1), (2, 1), (3, 1), (4, 2)]);
    queue.list(3, ClientTag::new(3), Place::Back);
    queue.unlist(3, ClientTag::new(3));
    assert_eq!(drain(&mut queue), [1, 4, 2, 3]);
}

#[test]
fn lost_turn_is_given_back_before_the_others() {
    let mut queue = queue(&[(1, 1), (2, 2), (3, 3)]);
    assert_eq!(queue.pop(), Some((ClientTag::new(1), 1)));
    insert(&mut queue, 1, &[1], Place::Front);
    assert_eq!(drain(&mut queue), [1, 2, 3]);
}

#[test]
fn removed_operation_is_passed_over() {
    let mut queue = queue(&[(1, 1), (2, 2), (3, 2), (4, 0)]);
    assert_eq!([1, 3, 4].map(|ticket| queue.remove(ticket)), [Some(1), Some(3), Some(4)]);
    assert_eq!(queue.remove(4), None);
    assert_eq!(drain(&mut queue), [2]);
}

#[test]
fn clients_that_come_and_go_leave_no_growing_trace() {
    let mut queue = queue(&[(0, 1), (1, 2)]);
    for ticket in 2..10_000 {
        insert(&mut queue, ticket, &[ticket + 1], Place::Back);
        queue.remove(ticket);
        assert!(queue.round.len() <= LEAST_SWEEP && queue.of.len() <= LEAST_SWEEP);
    }
    assert_eq!(drain(&mut queue), [0, 1]);
}
