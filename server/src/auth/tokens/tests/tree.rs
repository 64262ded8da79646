//! A token lives exactly if it and all its ancestors are there and have not expired.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Create { parent: Option<prop::sample::Index>, ttl: u64 },
    Revoke(prop::sample::Index),
    RevokeOrphan(prop::sample::Index),
    Renew(prop::sample::Index),
    Wait(u64),
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => (prop::option::of(index()), 1_u64..300)
            .prop_map(|(parent, ttl)| Step::Create { parent, ttl }),
        1 => index().prop_map(Step::Revoke),
        1 => index().prop_map(Step::RevokeOrphan),
        2 => index().prop_map(Step::Renew),
        2 => (1_u64..40).prop_map(Step::Wait),
        1 => Just(Step::Sweep),
    ]
}

struct Node {
    text: TokenText,
    id: TokenId,
    parent: Option<usize>,
    ttl: u64,
    expires: u64,
    is_revoked: bool,
}

#[derive(Default)]
struct Model(Vec<Node>);

impl Model {
    fn lives(&self, at: usize, now: u64) -> bool {
        let node = &self.0[at];
        let is_there = !node.is_revoked && node.expires > now;
        is_there && node.parent.is_none_or(|parent| self.lives(parent, now))
    }
}

async fn take(auth: &Auth, model: &mut Model, clock: &TestClock, step: &Step) {
    let declared = deployment();
    let now = clock.unix_seconds();
    let chosen = |index: &prop::sample::Index, model: &Model| {
        (!model.0.is_empty()).then(|| index.index(model.0.len()))
    };
    match step {
        Step::Create { parent, ttl } => {
            let parent = parent.as_ref().and_then(|index| chosen(index, model));
            let new = NewToken {
                parent: parent.map(|at| Parent::Token(model.0[at].id)),
                ttl: Some(Duration::from_secs(*ttl)),
                ..wanted()
            };
            let made = auth.issue(new).await;
            let can_be = parent.is_none_or(|at| model.lives(at, now));
            assert_eq!(made.is_ok(), can_be);
            let Ok(Issued { text, .. }) = made else { return };
            let id = TokenId::of(&state_key(), &text);
            let (ttl, expires) = (*ttl, now + ttl);
            model.0.push(Node { text, id, parent, ttl, expires, is_revoked: false });
        }
        Step::Revoke(index) => {
            let Some(at) = chosen(index, model) else { return };
            auth.revoke(&model.0[at].id).await.unwrap();
            model.0[at].is_revoked = true;
        }
        Step::RevokeOrphan(index) => {
            let Some(at) = chosen(index, model) else { return };
            if !model.lives(at, now) {
                return;
            }
            auth.revoke_orphan(&model.0[at].id).await.unwrap();
            model.0[at].is_revoked = true;
            for node in &mut model.0 {
                if node.parent == Some(at) {
                    node.parent = None;
                }
            }
        }
        Step::Renew(index) => {
            let Some(at) = chosen(index, model) else { return };
            let renewed = auth.renew(&declared, &model.0[at].id, None).await;
            assert_eq!(renewed.is_ok(), model.lives(at, now));
            if let Ok(renewed) = renewed {
                assert_eq!(renewed.lease.as_secs(), model.0[at].ttl);
                model.0[at].expires = renewed.token.expires.unwrap();
            }
        }
        Step::Wait(seconds) => {
            clock.advance(*seconds);
            auth.tokens.clock.beat(&auth.records, false).await.unwrap();
        }
        Step::Sweep => {
            auth.tokens.sweep(&auth.records).await.unwrap();
        }
    }
}

/// Whoever is shown a token asks the store for it, and may be kept from asking for its parent.
#[tokio::test]
async fn no_sweep_removes_a_token_whose_parent_was_not_heard_of() {
    let (store, clock) = (store(), TestClock::new());
    let (one, two) = (replica(&store, &clock).await, replica(&store, &clock).await);
    let mut line = Vec::new();
    for _ in 0..4 {
        let parent = line.last().map(|issued: &Issued| TokenId::of(&state_key(), &issued.text));
        let parent = parent.map(Parent::Token);
        line.push(one.issue(NewToken { parent, ..wanted() }).await.unwrap());
    }
    let [oldest, _, _, youngest] = &line[..] else { panic!("{}", line.len()) };
    let id = TokenId::of(&state_key(), &youngest.text);
    two.records.look_again::<Token>(&id).await.unwrap();
    for _ in 0..line.len() {
        assert_eq!(two.tokens.sweep(&two.records).await.unwrap(), 0);
    }
    assert_eq!(two.tokens.mirror.names().len(), line.len(), "those that it lacked are held");
    for auth in [&one, &two] {
        authenticate(auth, &youngest.text, HERE).await.unwrap();
    }
    one.revoke(&TokenId::of(&state_key(), &oldest.text)).await.unwrap();
    two.records.reload(&*store).await.unwrap();
    assert_eq!(two.tokens.sweep(&two.records).await.unwrap(), 3, "whose parent is gone");
}

/// Each removal depends on two records where each has a parent of its own.
#[tokio::test]
async fn a_sweep_removes_the_children_of_however_many_parents() {
    let (store, clock) = (store(), TestClock::new());
    let auth = replica(&store, &clock).await;
    let room = store.limits().records;
    for _ in 0..room {
        let parent = auth.issue(wanted()).await.unwrap();
        let id = TokenId::of(&state_key(), &parent.text);
        let child = NewToken { parent: Some(Parent::Token(id)), ..wanted() };
        auth.issue(child).await.unwrap();
        auth.revoke(&id).await.unwrap();
    }
    assert_eq!(auth.tokens.sweep(&auth.records).await.unwrap(), room);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_token_lives_exactly_if_all_that_it_came_from_does(
        steps in prop::collection::vec(step(), 1..40)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (store, clock) = (store(), TestClock::new());
            let auth = replica(&store, &clock).await;
            auth.tokens.clock.beat(&auth.records, false).await.unwrap();
            let mut model = Model::default();
            for step in &steps {
                take(&auth, &mut model, &clock, step).await;
                let now = clock.unix_seconds();
                for (at, node) in model.0.iter().enumerate() {
                    let is_good = authenticate(&auth, &node.text, HERE).await.is_ok();
                    assert_eq!(is_good, model.lives(at, now), "{at} after {step:?}");
                }
            }
            auth.tokens.sweep(&auth.records).await.unwrap();
            let now = clock.unix_seconds();
            let live = (0..model.0.len()).filter(|at| model.lives(*at, now)).count();
            assert_eq!(auth.tokens.mirror.names().len(), live, "the sweep leaves the living alone");
        });
    }
}
