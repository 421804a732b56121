//! Quarterdeck is stopped with everything it runs, and started again.

use crate::story::Story;
use expect_test::expect;
use model::{InstanceId, Span};

#[test]
fn what_was_stopped_on_purpose_starts_again_at_once_however_often() {
    let mut s = Story::with_shop_running();
    for _ in 0..6 {
        s.world.halt_control();
        s.run(Span::seconds(30));
        s.world.start_control(None);
        s.run(Span::seconds(5));
        assert!(s.state().instances.values().all(|i| i.is_ready() && i.exits == 0), "{}", s.everything());
    }
    let tale = s.tale_of_instance(InstanceId(1));
    let lines: Vec<_> = tale.lines().take(6).collect();
    expect![[r#"
        +0.000 s  INS-1 of REL-1 shall run
        +1.000 s  INS-1 is ready
        +6.000 s  INS-1 is stopped together with Quarterdeck
        +36.100 s  INS-1 is started again (run 2)
        +37.100 s  INS-1 is ready
        +41.000 s  INS-1 is stopped together with Quarterdeck"#]]
    .assert_eq(&lines.join("\n"));
}
