//! `weir sidecar iptables`: the rules themselves.

use std::process::{Command, Stdio};

use weir_conformance::{Namespace, command, program};

use super::mesh::iptables;

/// All rules and chains that somebody has made, and routes for marks.
fn rules() -> String {
    let mut all = String::new();
    for save in ["iptables-save", "ip6tables-save"] {
        let output = program(save).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        // Of the system's chains only rules, and no counters.
        let is_own =
            |line: &&str| line.starts_with('-') || (line.starts_with(':') && line.contains(" - "));
        for line in text.lines().filter(is_own) {
            all += line.split(" [").next().unwrap();
            all += "\n";
        }
    }
    for arguments in [
        "-4 rule",
        "-6 rule",
        "-4 route show table 133",
        "-6 route show table 133",
        "-6 addr show dev lo",
    ] {
        let output = program("ip").args(arguments.split(' ')).output().unwrap();
        all += &String::from_utf8(output.stdout).unwrap();
    }
    all
}

const MODES: [&str; 2] = ["-m REDIRECT", "-m TPROXY"];

#[test]
fn rules_that_are_applied_twice_are_there_once_and_can_be_removed() {
    for mode in MODES {
        Namespace::new().run(|| {
            let before = rules();
            iptables(&format!("--apply {mode}"));
            let once = rules();
            assert!(
                once.contains("-A PREROUTING -p tcp -j WEIR_INBOUND"),
                "{once}"
            );
            iptables(&format!("--apply {mode}"));
            assert_eq!(rules(), once);
            iptables("--remove");
            assert_eq!(rules(), before);
            // There is nothing to remove any more, which is no failure.
            iptables("--remove");
            assert_eq!(rules(), before);
        });
    }
}

#[test]
fn rules_of_others_stay() {
    Namespace::new().run(|| {
        for rule in [
            "-t nat -A OUTPUT -p tcp --dport 1 -j ACCEPT",
            "-t mangle -A PREROUTING -p udp -j ACCEPT",
        ] {
            weir_conformance::configure(&format!("iptables -w {rule}"));
        }
        let before = rules();
        iptables("--apply -m TPROXY");
        iptables("--apply");
        let redirected = rules();
        assert!(!redirected.contains("TPROXY"), "{redirected}");
        iptables("--remove");
        assert_eq!(rules(), before);
    });
}

#[test]
fn what_is_printed_does_the_same_in_a_shell() {
    for mode in MODES {
        let applied = Namespace::new().run(|| {
            iptables(&format!("--apply {mode}"));
            rules()
        });
        Namespace::new().run(|| {
            let before = rules();
            for _ in 0..2 {
                shell(&iptables(mode));
                assert_eq!(rules(), applied);
            }
            shell(&iptables(&format!("{mode} --remove --dry-run")));
            assert_eq!(rules(), before);
        });
    }
}

fn shell(script: &str) {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = Command::new("sh")
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut shell.stdin.take().unwrap(), script.as_bytes()).unwrap();
    let output = shell.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{said}");
}

#[test]
fn options_are_those_of_istio() {
    let printed = iptables(
        "-p 1501 -z 1506 -u 7,8 -g 9 -m REDIRECT -b 80,8080 -d 22 -i 10.0.0.0/8,fd00::/8 \
         -x 10.1.0.0/16 -q 5432 -o 25,26 -c eth1 -k vm+ --ip-families ipv4",
    );
    let expected = "\
set -e
iptables-restore -w --noflush <<'END'
*nat
:WEIR_REDIRECT - [0:0]
:WEIR_IN_REDIRECT - [0:0]
:WEIR_INBOUND - [0:0]
:WEIR_OUTPUT - [0:0]
-A WEIR_REDIRECT -p tcp -j REDIRECT --to-ports 1501
-A WEIR_IN_REDIRECT -p tcp -j REDIRECT --to-ports 1506
-A WEIR_INBOUND -i eth1 -j RETURN
-A WEIR_OUTPUT -o eth1 -j RETURN
-A WEIR_INBOUND -i vm+ -d 10.0.0.0/8 -j WEIR_REDIRECT
-A WEIR_INBOUND -i vm+ -j RETURN
-A WEIR_INBOUND -p tcp --dport 15008 -j RETURN
-A WEIR_INBOUND -p tcp --dport 80 -j WEIR_IN_REDIRECT
-A WEIR_INBOUND -p tcp --dport 8080 -j WEIR_IN_REDIRECT
-A WEIR_OUTPUT -p tcp --dport 25 -j RETURN
-A WEIR_OUTPUT -p tcp --dport 26 -j RETURN
-A WEIR_OUTPUT -o lo -s 127.0.0.6/32 -j RETURN
-A WEIR_OUTPUT -o lo ! -d 127.0.0.1/32 -p tcp ! --dport 15008 -m owner --uid-owner 7 -j WEIR_IN_REDIRECT
-A WEIR_OUTPUT -o lo ! -d 127.0.0.1/32 -p tcp ! --dport 15008 -m owner --uid-owner 8 -j WEIR_IN_REDIRECT
-A WEIR_OUTPUT -o lo ! -d 127.0.0.1/32 -p tcp ! --dport 15008 -m owner --gid-owner 9 -j WEIR_IN_REDIRECT
-A WEIR_OUTPUT -m owner --uid-owner 7 -j RETURN
-A WEIR_OUTPUT -m owner --uid-owner 8 -j RETURN
-A WEIR_OUTPUT -m owner --gid-owner 9 -j RETURN
-A WEIR_OUTPUT -o lo -j RETURN
-A WEIR_OUTPUT -d 127.0.0.1/32 -j RETURN
-A WEIR_OUTPUT -d 10.1.0.0/16 -j RETURN
-A WEIR_OUTPUT -p tcp --dport 5432 -j WEIR_REDIRECT
-A WEIR_OUTPUT -d 10.0.0.0/8 -j WEIR_REDIRECT
COMMIT
END
iptables -w -t nat -C PREROUTING -p tcp -j WEIR_INBOUND 2>/dev/null || iptables -w -t nat -A PREROUTING -p tcp -j WEIR_INBOUND
iptables -w -t nat -C OUTPUT -p tcp -j WEIR_OUTPUT 2>/dev/null || iptables -w -t nat -A OUTPUT -p tcp -j WEIR_OUTPUT
";
    let (applied, _) = printed.split_once("if ").unwrap();
    assert_eq!(applied, expected);
}

#[test]
fn what_is_wrong_is_refused() {
    for (arguments, named) in [
        ("-b 80,x", "`x`"),
        ("-i 10.0.0.0/33", "10.0.0.0/33"),
        ("-c a/b", "not the name of an interface"),
        ("-m NONE", "REDIRECT, TPROXY"),
        ("-u root", "root"),
        ("--redirect-dns", "--redirect-dns"),
    ] {
        let output = command()
            .args(["sidecar", "iptables"])
            .args(arguments.split(' '))
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments}: {said}");
        assert!(said.contains(named), "{arguments}: {said}");
    }
}
