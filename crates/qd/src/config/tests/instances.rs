//! What instances listen on.

use super::{check, good};
use expect_test::expect;
use model::{InstanceTls, Listen};
use std::path::Path;

#[test]
fn what_serves_files_is_not_asked_over_tls() {
    check(
        "[services.a]\nfiles = \".\"\ntraffic = { instance_tls = { ca = \"ca.pem\", name = \"a\" } }\n",
        expect![[r#"
            what serves `files` speaks no TLS
             --> quarterdeck.toml:2:9
              |
            2 | files = "."
              |         ^^^
              = leave `instance_tls` out: it is asked on this machine only
        "#]],
    );
}

#[test]
fn a_service_listens_on_a_socket_when_all_of_it_can() {
    let run = |text: &str| good(text).services.into_values().next().unwrap().run;
    assert_eq!(run("[services.a]\n").listen, Listen::Port);
    let socket = run("[services.a]\nlisten = \"socket\"\ncommand = \"serve unix:$SOCKET\"\n");
    assert_eq!((socket.listen, socket.command[1].as_str()), (Listen::Socket, "unix:$SOCKET"));
    check(
        "[services.a]\nlisten = \"socket\"\ncommand = \"serve ${PORT}\"\n[services.b]\nlisten = \"socket\"\nfiles = \".\"\n\
         [services.c]\nlisten = \"socket\"\nenv = { SOCKET = \"x\" }\n[services.d]\nlisten = 80\n",
        expect![[r#"
            a service that listens on a socket has no port, and `command` asks for $PORT
             --> quarterdeck.toml:2:10
              |
            2 | listen = "socket"
              |          ^^^^^^^^
              = use $SOCKET there

            what serves `files` listens on a port
             --> quarterdeck.toml:5:10
              |
            5 | listen = "socket"
              |          ^^^^^^^^
              = leave `listen` out

            `SOCKET` cannot be set: it is given to each instance by Quarterdeck
             --> quarterdeck.toml:8:10
              |
            8 | listen = "socket"
              |          ^^^^^^^^
              = give the variable another name

            this is a number, and a text is expected here
              --> quarterdeck.toml:11:10
               |
            11 | listen = 80
               |          ^^
        "#]],
    );
}

#[test]
fn instances_are_spoken_to_with_tls_once_there_is_an_authority_and_never_unchecked() {
    let tls = |text: &str| {
        let all = good(&format!("[services.a.traffic.instance_tls]\n{text}")).services;
        all.into_values().next().unwrap().traffic.instance_tls
    };
    assert_eq!(tls(""), None);
    let here = |file: &str| std::path::absolute(Path::new(file)).unwrap();
    let plain = InstanceTls { ca: here("ca.pem"), name: "localhost".to_owned(), shown: None };
    assert_eq!(tls("ca = \"ca.pem\"\n"), Some(plain));
    let mutual =
        tls("ca = \"/ca.pem\"\nname = \"shop.internal\"\ncertificate = \"a.pem\"\nkey = \"keys/a.key\"\n").unwrap();
    assert_eq!((mutual.ca.as_path(), mutual.name.as_str()), (Path::new("/ca.pem"), "shop.internal"));
    assert_eq!(mutual.shown.unwrap().key, here("keys/a.key"));
    check(
        "[services.a.traffic.instance_tls]\nname = \"a\"\n[services.b.traffic.instance_tls]\nca = \"ca.pem\"\nkey = \"a.key\"\n\
         [services.c.traffic]\ninstance_tls = { ca = \"ca.pem\", insecure = true }\n",
        expect![[r#"
            an instance is never believed unchecked, and `ca` is not set
             --> quarterdeck.toml:1:1
              |
            1 | [services.a.traffic.instance_tls]
              | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              = name the authority of their certificates, or their certificate itself: ca = "instances.pem"

            `certificate` and `key` belong together
             --> quarterdeck.toml:3:1
              |
            3 | [services.b.traffic.instance_tls]
              | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              = set both, which may name the same file, or none of them

            `insecure` is not a key here
             --> quarterdeck.toml:7:33
              |
            7 | instance_tls = { ca = "ca.pem", insecure = true }
              |                                 ^^^^^^^^
              = known here: ca, name, certificate, key
        "#]],
    );
}
