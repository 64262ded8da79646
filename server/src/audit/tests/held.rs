//! Files that another process has. Locks are of who opened a file: two [`Audit`]s are two servers.

use super::super::change::judge;
use super::*;

/// How many lines the device `name` did not take.
fn missed(audit: &Audit, name: &str) -> u64 {
    let devices = audit.devices();
    let one = devices.iter().find(|(device, _)| device.path == name).unwrap();
    one.1.failed.load(Ordering::Relaxed)
}

#[tokio::test]
async fn a_server_that_waits_for_a_file_does_not_take_the_next_one_of_that_name() {
    let (directory, path) = log();
    let rotated = directory.path().join("audit.log.1");
    let first = on(&path);
    record(&first, 0).await.unwrap();
    let works = device("works", file(&directory.path().join("works.log")));
    let second = start(vec![device("held", file(&path)), works]).unwrap();
    fs::rename(&path, &rotated).unwrap();
    record(&second, 0).await.unwrap();
    until(|| missed(&second, "held") == 1).await;
    assert!(!path.exists(), "it is the first one's to make");
    first.reopen();
    until(|| holder(&path).unwrap().is_some()).await;
    for number in 1..4 {
        record(&second, number).await.unwrap();
        until(|| missed(&second, "held") == number as u64 + 1).await;
        record(&first, number).await.unwrap();
    }
    drop(first);
    until(|| second.devices().iter().all(|(_, one)| !one.is_failing.load(Ordering::Relaxed))).await;
    record(&second, 4).await.unwrap();
    drop(second);
    let taken = types(&path);
    let begin = ["selkie_file", "request", "request", "request", "selkie_stop", "selkie_start"];
    assert_eq!(taken[..6], begin);
    assert_eq!(taken[taken.len() - 2..], ["request", "selkie_stop"], "{taken:?}");
}

#[tokio::test]
async fn a_server_whose_next_file_another_one_made_says_so_and_is_helped_by_a_rotation() {
    let (directory, path) = log();
    let first = on(&path);
    record(&first, 0).await.unwrap();
    fs::rename(&path, directory.path().join("audit.log.1")).unwrap();
    let second = on(&path);
    first.reopen();
    until(|| first.refuses_all()).await;
    fs::rename(&path, directory.path().join("audit.log.2")).unwrap();
    first.reopen();
    until(|| path.exists()).await;
    record(&first, 1).await.unwrap();
    drop((first, second));
}

#[tokio::test]
async fn a_server_that_is_told_of_a_rotation_makes_the_file_before_its_next_line() {
    let (directory, path) = log();
    let audit = on(&path);
    record(&audit, 0).await.unwrap();
    fs::rename(&path, directory.path().join("audit.log.1")).unwrap();
    audit.reopen();
    until(|| holder(&path).unwrap().is_some()).await;
    assert!(is_refused_elsewhere(&path));
    record(&audit, 1).await.unwrap();
    drop(audit);
    assert_eq!(types(&path), ["selkie_file", "request", "selkie_stop"]);
}

#[tokio::test]
async fn two_devices_on_one_file_are_refused_also_while_another_process_has_it() {
    let (directory, path) = log();
    let hung = on(&path);
    let linked = directory.path().join("linked");
    fs::hard_link(&path, &linked).unwrap();
    let works = device("works", file(&directory.path().join("works.log")));
    let devices = vec![device("one", file(&path)), device("two", file(&linked)), works];
    let refused = start(devices).unwrap_err();
    let AuditError::File { device, source, .. } = refused else { panic!("{refused:?}") };
    assert!(device == "two" && source.to_string().contains("audit device \"one\""), "{source}");
    drop(hung);
}

#[tokio::test]
async fn a_start_is_not_refused_for_a_file_that_was_let_go_of_while_other_devices_were_opened() {
    let (_directory, path) = log();
    let hung = on(&path);
    let audit = Audit::none(Arc::new(SystemClock));
    let (key, claims) = (Arc::new(key()), Arc::clone(&audit.claims));
    let open = || {
        let means = Means {
            key: Arc::clone(&key),
            clock: Arc::new(SystemClock),
            claims: Arc::clone(&claims),
        };
        let started =
            super::super::start(device("file", file(&path)), means, Opening::May).unwrap();
        (Arc::new(started.device), started.unopened.unwrap())
    };
    let (device, error) = open();
    let refused = judge(&[Arc::clone(&device)], vec![(device, error)]);
    assert!(matches!(refused, Err(AuditError::File { .. })), "{refused:?}");
    until(|| Arc::strong_count(&claims) == 2).await;
    let (device, error) = open();
    drop(hung);
    until(|| !device.is_failing()).await;
    judge(&[Arc::clone(&device)], vec![(device, error)]).unwrap();
}
