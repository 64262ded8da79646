//! Files that another process has. Locks are of who opened a file: two [`Audit`]s are two servers.

use super::*;

#[tokio::test]
async fn a_server_that_is_told_of_a_rotation_makes_the_file_before_its_next_line() {
    let (directory, path) = log();
    let audit = on(&path);
    record(&audit, 0).await.unwrap();
    fs::rename(&path, directory.path().join("audit.log.1")).unwrap();
    audit.reopen();
    until(|| holder(&path).is_some()).await;
    assert!(is_refused_elsewhere(&path));
    record(&audit, 1).await.unwrap();
    drop(audit);
    assert_eq!(types(&path), ["selkie_file", "request", "selkie_stop"]);
}
