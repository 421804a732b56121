use super::*;
use crate::testing::{Bench, deploy, key};

#[test]
fn a_subject_is_read_as_people_write_it() {
    assert_eq!("CHG-3".parse(), Ok(Subject::Change(ChangeId(3))));
    assert_eq!("ins-31".parse(), Ok(Subject::Instance(InstanceId(31))));
    assert_eq!("staging/shop".parse(), Ok(Subject::Service(key("staging/shop"))));
    assert!("What?".parse::<Subject>().is_err());
}

#[test]
fn a_story_has_what_concerns_its_subject_and_nothing_else() {
    let mut b = Bench::with_shop();
    b.command(deploy("shop", "v2")).unwrap();
    b.settle();
    let of = |text: &str| {
        let subject: Subject = text.parse().unwrap();
        b.entries.iter().filter(|e| subject.concerns(e)).count()
    };
    assert_eq!(of("shop"), b.entries.len(), "everything so far concerns shop");
    assert_eq!((of("cart"), of("INS-1"), of("CHG-9")), (0, 2, 0));
    let first = |e: &&Entry| Subject::Instance(InstanceId(1)).concerns(e);
    let told = tell(b.entries.iter().filter(first));
    let lines: Vec<_> = told.lines().map(str::trim_start).collect();
    assert_eq!(lines, ["+0.000 s  INS-1 of REL-1 shall run", "+0.000 s  INS-1 is ready"]);
    assert!(told.lines().all(|line| line.find("INS").is_some_and(|at| at == 14)), "what happened is in one column");
}
