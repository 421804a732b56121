//! What is typed is understood, and failures say what they must to people and to scripts.

use super::{
    args::{Cli, Command},
    failure::{EXIT_CODES, Failure, ForPeople},
};
use api::{Problem, client, problem::Fault};
use clap::Parser as _;
use control::{Code, Refusal};
use expect_test::expect;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' '))
}

#[test]
fn options_of_every_command_are_understood_everywhere() {
    for line in ["qd --json status", "qd status --json", "qd --data /x ledger verify --json"] {
        assert!(parse(line).unwrap().global.json || line.contains("--data"), "{line}");
    }
}

#[test]
fn a_deploy_reads_as_it_is_typed() {
    let cli = parse("qd deploy staging/shop ./dist -m faster --strategy blue-green --supersede -n").unwrap();
    let Command::Deploy(deploy) = cli.command else { panic!("{:?}", cli.command) };
    assert_eq!(deploy.service.environment.unwrap().as_str(), "staging");
    assert_eq!(deploy.strategy, Some(model::Strategy::BlueGreen));
    assert!(deploy.supersede && deploy.intent.dry_run);
    assert_eq!(deploy.intent.reason.as_deref(), Some("faster"));
}

#[test]
fn what_cannot_be_is_refused_while_it_is_read() {
    for line in [
        "qd deploy Shop ./dist",
        "qd deploy shop ./dist --strategy best",
        "qd scale shop 0",
        "qd promote 12",
        "qd approve CHG-1 --expect abc",
        "qd logs shop -n -1",
        "qd frobnicate",
    ] {
        assert_eq!(parse(line).expect_err(line).exit_code(), 2, "{line}");
    }
}

#[test]
fn help_can_be_asked_for_as_a_command() {
    for line in ["qd help", "qd help deploy", "qd ledger help verify"] {
        assert_eq!(parse(line).expect_err(line).kind(), clap::error::ErrorKind::DisplayHelp, "{line}");
    }
}

#[test]
fn a_refusal_shows_its_code_and_its_hint() {
    let refusal = Refusal::new(Code::ChangeUnderWay, "CHG-3 of shop is running", "wait for it, or `qd cancel CHG-3`");
    let failure = Failure::Server(client::Error::Problem(Problem::from(refusal)));
    assert_eq!(failure.exit_code(), 4);
    expect![[r#"
        CHG-3 of shop is running [change_under_way]
        hint: wait for it, or `qd cancel CHG-3`
    "#]]
    .assert_eq(&ForPeople(&failure).to_string());
    expect![[r#"{"error":{"code":"change_under_way","hint":"wait for it, or `qd cancel CHG-3`","message":"CHG-3 of shop is running"}}"#]]
        .assert_eq(&failure.to_json().to_string());
}

#[test]
fn every_failure_has_an_exit_code_of_the_reference() {
    let io = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    let absent = client::Error::NotRunning { address: "x".to_owned(), source: io() };
    let defect = client::Error::Problem(Problem::new(Fault::Internal, "x", ""));
    let failures = [
        (Failure::usage("x", ""), 2),
        (Failure::Server(absent), 5),
        (Failure::Server(defect), 1),
        (Failure::Undone, 3),
        (Failure::LeftOut { what: "x".to_owned() }, 6),
        (Failure::Interrupted, 130),
        (Failure::file("read", "x")(io()), 1),
        (Failure::ReaderGone, 0),
    ];
    for (failure, code) in failures {
        assert_eq!(failure.exit_code(), code, "{failure}");
        assert!(EXIT_CODES.iter().any(|(known, _)| *known == code), "{failure}");
    }
}

#[test]
fn a_wrong_configuration_is_shown_to_programs_place_by_place() {
    let wrong = crate::config::Config::parse(std::path::Path::new("q.toml"), "replicas = 1").unwrap_err();
    let failure = Failure::Config(wrong.into());
    assert_eq!(failure.exit_code(), 2);
    assert_eq!(failure.to_json()["error"]["problems"][0]["line"], 1);
}
