use super::*;
use expect_test::expect;

fn policy() -> Policy {
    Policy {
        owners: ["ann".to_owned()].into(),
        viewers: ["vic".to_owned()].into(),
        approvals: [("production".parse().unwrap(), 1)].into(),
    }
}

#[test]
fn the_permission_matrix_is_what_was_reviewed() {
    let production = EnvironmentName::default();
    let actors = [Actor::person("ann"), Actor::person("vic"), Actor::person("eve"), Actor::quarterdeck()];
    let mut matrix = String::from("act           ann   vic   eve   quarterdeck\n");
    for act in Act::ALL {
        let answers = actors.each_ref().map(|actor| {
            match policy().decide(&Question { actor, act, environment: Some(&production), service: None }) {
                Answer::Permit { approvals: 0 } => "yes".to_owned(),
                Answer::Permit { approvals } => format!("yes+{approvals}"),
                Answer::Deny(_) => "-".to_owned(),
            }
        });
        matrix +=
            format!("{:<14}{:<6}{:<6}{:<6}{}\n", format!("{act:?}"), answers[0], answers[1], answers[2], answers[3])
                .as_str();
    }
    expect![[r#"
        act           ann   vic   eve   quarterdeck
        View          yes   yes   -     yes
        ReadLogs      yes   yes   -     yes
        Plan          yes   -     -     yes
        Upload        yes   -     -     yes
        Apply         yes+1 -     -     yes+1
        Deploy        yes+1 -     -     yes+1
        Rollback      yes   -     -     yes
        Scale         yes+1 -     -     yes+1
        Purge         yes   -     -     yes
        Approve       yes   -     -     yes
        Steer         yes   -     -     yes
        Shutdown      yes   -     -     yes
    "#]]
    .assert_eq(&matrix);
}

#[test]
fn a_denial_says_who_and_what_and_how_to_change_it() {
    let answer = |name: &str| {
        policy().decide(&Question { actor: &Actor::person(name), act: Act::Deploy, environment: None, service: None })
    };
    assert_eq!(answer("vic"), Answer::Deny("vic is a viewer here and may not deploy".into()));
    assert!(matches!(answer("eve"), Answer::Deny(why) if why.contains("[access]")));
}
