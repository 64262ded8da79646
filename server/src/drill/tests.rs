use proptest::prelude::*;

use super::*;

fn step(text: &str) -> DrillStep {
    text.parse().unwrap()
}

fn plan(steps: &[&str]) -> DrillPlan {
    let steps = steps.iter().map(|text| step(text)).collect();
    DrillPlan { steps, keys_left_out: 0, untried_seals: Vec::new() }
}

fn drilled(is_ok: bool) -> Vec<SealDrill> {
    let outcome = if is_ok { Ok(()) } else { Err(crate::transit::DrillFault::OtherPlaintext) };
    let seal = SealName::new("weu").unwrap();
    vec![SealDrill { seal, outcome, time: std::time::Duration::ZERO }]
}

#[test]
fn a_whole_drill_is_as_old_as_its_oldest_step() {
    let (log, plan) = (DrillLog::default(), plan(&["state", "key/transit/a"]));
    log.note(step("state"), Some(&drilled(true)), 10);
    assert_eq!(log.whole(&plan), None);
    log.note(step("key/transit/a"), Some(&drilled(true)), 20);
    assert_eq!(log.whole(&plan), Some(Drilled { at: 10, is_ok: true, failed: BTreeSet::new() }));
    log.note(step("state"), Some(&drilled(false)), 30);
    let whole = log.whole(&plan).unwrap();
    assert_eq!((whole.at, whole.is_ok, whole.failed.len()), (20, false, 1));
}

#[test]
fn a_step_that_tried_nothing_fails_the_drill() {
    for nothing in [None, Some(&[][..])] {
        let log = DrillLog::default();
        log.note(step("state"), nothing, 10);
        assert!(!log.whole(&plan(&["state"])).unwrap().is_ok);
    }
}

#[test]
fn what_is_no_longer_in_the_plan_does_not_fail_it() {
    let log = DrillLog::default();
    log.note(step("key/transit/gone"), Some(&drilled(false)), 10);
    log.note(step("key/transit/a"), Some(&drilled(true)), 20);
    assert!(log.whole(&plan(&["key/transit/a"])).unwrap().is_ok);
    assert_eq!(log.whole(&plan(&[])), None, "a drill of nothing proves nothing");
}

proptest! {
    #[test]
    fn a_step_reads_back_as_it_is_written(text in "(state|key/[a-z/]{1,12}/[a-z.-]{1,8}|.{0,20})") {
        if let Ok(step) = text.parse::<DrillStep>() {
            prop_assert_eq!(step.to_string().parse(), Ok(step));
        }
    }
}
