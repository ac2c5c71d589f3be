//! `weir dev`, as somebody who writes a filter has it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed unwrap is a failed test.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use weir_conformance::guests::{Edit, body_replacer, editor};
use weir_conformance::{Answer, Client, PATIENCE, Upstream, command, eventually, filter, run};

/// How long a build may take where others build too.
const BUILD_PATIENCE: Duration = Duration::from_secs(240);

/// A running `weir dev weir.yaml`; killed when dropped.
struct Dev {
    child: Child,
    folder: TempDir,
    /// Bytes of standard output that have been looked at.
    looked_at: usize,
}

impl Dev {
    fn start(folder: TempDir, arguments: &[&str]) -> Self {
        // Hidden, as they are no sources.
        let create = |name: &str| File::create(folder.path().join(name)).unwrap();
        let child = command()
            .arg("dev")
            .args(arguments)
            .arg("weir.yaml")
            // A build for a test need not be small, takes what was fetched for the
            // filters, and goes to where it is looked for.
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_NET_OFFLINE", "true")
            .env("CARGO_TERM_COLOR", "never")
            .env_remove("CARGO_TARGET_DIR")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(create(".stdout"))
            .stderr(create(".stderr"))
            .spawn()
            .unwrap();
        Self {
            child,
            folder,
            looked_at: 0,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path(name)).unwrap()).into_owned()
    }

    /// Waits until `words` are printed, behind what has been looked at; gives what is
    /// printed up to the end of their line.
    #[track_caller]
    fn printed(&mut self, words: &str) -> String {
        let began = Instant::now();
        loop {
            let text = self.text(".stdout");
            let new = &text[self.looked_at..];
            let end = new.find(words).map(|at| at + words.len());
            if let Some(end) = end.and_then(|end| Some(end + new[end..].find('\n')? + 1)) {
                self.looked_at += end;
                return new[..end].to_owned();
            }
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && began.elapsed() < BUILD_PATIENCE,
                "`{words}` is not printed ({ended:?})\n--- stdout\n{text}\n--- stderr\n{}",
                self.text(".stderr")
            );
            // For what a file gets there is no event.
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Where the listener `edge` is, once it is.
    #[track_caller]
    fn listener(&mut self) -> SocketAddr {
        let printed = self.printed("listening: edge at ");
        printed
            .trim_end()
            .rsplit(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    }

    /// Changes a file at once.
    fn edit(&self, name: &str, change: impl FnOnce(String) -> String) {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        std::fs::write(self.path(".next"), change(text)).unwrap();
        std::fs::rename(self.path(".next"), self.path(name)).unwrap();
    }

    /// Asks for a path until the answer is as it will be when a build is taken over, and
    /// waits until that request is printed, as `shown` begins.
    #[track_caller]
    fn taken_over(
        &mut self,
        address: SocketAddr,
        path: &str,
        shown: &str,
        is_it: impl Fn(&weir_conformance::Response) -> bool,
    ) -> String {
        let began = Instant::now();
        while !is_it(&get(address, path)) {
            assert!(began.elapsed() < BUILD_PATIENCE, "{}", self.text(".stdout"));
            std::thread::park_timeout(Duration::from_millis(50));
        }
        self.printed(&format!(" GET {path} -> {shown}"))
    }

    /// Sends SIGINT, as Ctrl-C does; gives how the process ends.
    fn interrupt(&mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        let kill = Command::new("kill").args(["-s", "INT", &pid]).status();
        assert!(kill.unwrap().success());
        eventually("weir dev ends", || self.child.try_wait().unwrap())
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // It ends its builds, if it is asked to end.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-s", "INT", &pid]).status();
        let began = Instant::now();
        while began.elapsed() < PATIENCE && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A project as a command, `weir filter new`, makes it, whose listener takes any port.
fn project(command: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let arguments: Vec<_> = command.split(' ').skip(1).collect();
    let made = run(folder.path(), &arguments);
    assert!(made.status.success(), "{made:?}");
    let path = folder.path().join("my-filter");
    for entry in std::fs::read_dir(&path).unwrap() {
        let entry = entry.unwrap();
        std::fs::rename(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    std::fs::remove_dir(path).unwrap();
    let config = folder.path().join("weir.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(config, text.replace("127.0.0.1:10000", "127.0.0.1:0")).unwrap();
    folder
}

/// The commands that the guide has people type, in this order.
fn guide() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/src/dev.md");
    let page = std::fs::read_to_string(page).unwrap();
    let commands = page.lines().filter_map(|line| line.strip_prefix("$ "));
    commands.map(str::to_owned).collect()
}

fn get(address: SocketAddr, path: &str) -> weir_conformance::Response {
    Client::connect(address).get(path)
}

#[test]
fn a_filter_is_built_shown_rebuilt_and_its_traps_are_traced_to_the_source() {
    let [new, enter, dev, with_command] = &guide()[..] else {
        panic!("the guide has other commands than are tried here");
    };
    assert_eq!(
        [enter.as_str(), dev.as_str()],
        ["cd my-filter", "weir dev weir.yaml"]
    );
    let build = with_command.strip_prefix("weir dev weir.yaml --build 'my-filter=");
    let mut dev = Dev::start(project(new), &[]);
    let found = dev.printed("my-filter: ");
    let command = "(Cargo.toml), built by `cargo build --release --target wasm32-wasip1`";
    assert!(found.contains(command), "{found}");
    assert!(command.ends_with(&format!("`{}`", build.unwrap().trim_end_matches('\''))));
    let address = dev.listener();

    assert_eq!(get(address, "/").header("x-my-filter"), Some("hello"));
    let shown = dev.printed("+ x-my-filter: hello");
    assert!(shown.contains("#1 GET / -> 200"), "{shown}");
    let shown = dev.printed("+ x-my-filter: hello");
    assert!(shown.contains("response\n    my-filter\n"), "{shown}");

    // Another source is another filter.
    let response = "set_http_response_header(\"x-my-filter\", Some(&self.greeting))";
    let changed = "set_http_response_header(\"x-my-filter\", Some(\"changed\"))";
    dev.edit("src/lib.rs", |text| text.replace(response, changed));
    dev.taken_over(address, "/changed", "200", |response| {
        response.header("x-my-filter") == Some("changed")
    });
    dev.printed("+ x-my-filter: changed");
    let printed = dev.text(".stdout");
    assert!(printed.contains("reloaded: "), "{printed}");
    // Once at the beginning, and once for this change.
    assert_eq!(printed.matches("building: ").count(), 2, "{printed}");
    eventually("the build is told of", || {
        (dev.text(".stdout").matches("built in ").count() == 2).then_some(())
    });

    // One that does not compile leaves this one where it is.
    dev.edit("src/lib.rs", |text| {
        text + "\nfn broken() -> u8 { \"text\" }\n"
    });
    dev.printed("the build has failed");
    let errors = dev.text(".stderr");
    assert!(
        errors.contains("error[E0308]: mismatched types"),
        "{errors}"
    );
    assert!(errors.contains("--> src/lib.rs:"), "{errors}");
    assert_eq!(get(address, "/").header("x-my-filter"), Some("changed"));
    dev.printed("+ x-my-filter: changed");

    // A trap is told with its place in the source.
    dev.edit("src/lib.rs", |text| {
        let text = text.split("\nfn broken").next().unwrap();
        let begin = "// In bytes: the functions";
        text.replace(
            begin,
            &format!(
                "if self.get_http_request_header_bytes(\":path\").as_deref() == Some(b\"/trap\") {{\n            \
                 panic!(\"as it was told\");\n        \
                 }}\n        \
                 {begin}"
            ),
        ) + "\n"
    });
    let source = std::fs::read_to_string(dev.path("src/lib.rs")).unwrap();
    let line = source
        .lines()
        .position(|line| line.contains("panic!"))
        .unwrap()
        + 1;
    let shown = dev.taken_over(address, "/trap", "503", |response| response.status == 503);
    let place = format!("src/lib.rs:{line}:");
    assert!(
        shown.contains("my-filter failed in proxy_on_request_headers (trap)"),
        "{shown}"
    );
    let is_frame = |line: &str| line.starts_with(&format!("    {place}")) && line.contains(" in ");
    assert!(shown.lines().any(is_frame), "{shown}");
    dev.printed("fails");
    assert!(
        !dev.text(".stdout").contains('\u{1b}'),
        "colours are for terminals"
    );
    dev.interrupt();
}

/// A configuration with filters in files before an upstream.
fn config(filters: &[(&str, &str)], upstream: &Upstream) -> String {
    let filter = |(name, more): &(&str, &str)| {
        format!(
            "  - name: {name}\n    \
               wasm: {{ vm_config: {{ code: {{ local: {{ filename: {name}.wasm }} }} }}{more} }}\n"
        )
    };
    let filters: String = filters.iter().map(filter).collect();
    format!(
        "workers: 1\n\
         listeners:\n\
         - name: edge\n  \
           address: 127.0.0.1:0\n  \
           http_filters:\n\
         {filters}  \
           routes: [{{ match: {{ prefix: / }}, cluster: web }}]\n\
         clusters: [{{ name: web, endpoints: [\"{}\"] }}]\n",
        upstream.address
    )
}

/// A folder with a configuration and guests in text.
fn folder(config: &str, guests: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    // Nothing above it is a project.
    std::fs::create_dir(folder.path().join(".git")).unwrap();
    write(folder.path(), "weir.yaml", config);
    for (name, guest) in guests {
        let module = wat::parse_str(guest).unwrap();
        write(folder.path(), &format!("{name}.wasm"), module);
    }
    folder
}

fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    std::fs::write(folder.join(name), bytes).unwrap();
}

/// An upstream with a text.
fn upstream() -> Upstream {
    Upstream::start(|_| Answer::with_headers("x-powered-by: PHP\r\n", "hello, world"))
}

#[test]
fn each_request_is_shown_with_what_each_filter_does_to_it() {
    use weir_conformance::guests::Map::{RequestHeaders, ResponseHeaders};
    let upstream = upstream();
    let headers = editor(&[
        Edit::Add(RequestHeaders, b"x-user", b"ada"),
        Edit::Add(RequestHeaders, b"x-user", b"bob"),
        Edit::Replace(RequestHeaders, b"user-agent", b"other"),
        Edit::Replace(ResponseHeaders, b"x-powered-by", b"Weir"),
    ]);
    let body = body_replacer(None, Some("hello, Weir!"));
    let config = config(&[("headers", ""), ("body", "")], &upstream);
    let mut dev = Dev::start(
        folder(&config, &[("headers", &headers), ("body", &body)]),
        &[],
    );
    let mut printed = dev.printed(": no project is found above");
    printed += &dev.printed(": no project is found above");
    for name in ["headers", "body"] {
        let found = format!("{name}: no project is found above");
        assert!(printed.contains(&found), "{printed}");
    }
    assert!(
        printed.contains("`--build headers=COMMAND` tells how"),
        "{printed}"
    );
    let address = dev.listener();
    let response = Client::connect(address).get_with("/page", &[("user-agent", "test")]);
    assert_eq!(response.status, 200);
    let mut shown = dev.printed("#1 GET /page -> 200");
    shown += &dev.printed("x-powered-by: PHP -> Weir");
    let begin = shown.find("#1 ").unwrap();
    let (head, rest) = shown[begin..].split_once('\n').unwrap();
    assert!(
        head.ends_with(&format!(", from {}", upstream.address)),
        "{head}"
    );
    let expected = "  request
    headers
      ~ user-agent: test -> other
      + x-user: ada
      + x-user: bob
    body: no change
  response
    body
      ~ body: 12 -> 12 bytes
        -hello, world
        +hello, Weir!
      ~ body: 0 -> 12 bytes
        +hello, Weir!
    headers
      ~ x-powered-by: PHP -> Weir
";
    // It replaces the end of the body, too, which comes by itself.
    assert_eq!(rest, expected);
    assert!(dev.text(".stderr").is_empty(), "{}", dev.text(".stderr"));
}

#[test]
fn what_a_filter_does_between_callbacks_and_in_place_of_the_upstream_is_shown() {
    let (upstream, auth) = (
        upstream(),
        Upstream::start(|request| {
            if request.header("x-original-path") == Some("/private") {
                let text = "HTTP/1.1 403 No\r\ncontent-length: 9\r\n\r\nforbidden";
                return Answer::Raw(text.as_bytes().to_vec());
            }
            Answer::with_headers("x-user: ada\r\n", "")
        }),
    );
    let configuration = ", configuration: { services: [{ cluster: auth }], take: [x-user] }";
    let config = config(&[("ext-auth", configuration)], &upstream);
    let cluster = format!("{{ name: auth, endpoints: [\"{}\"] }}", auth.address);
    let config = config.replace("}]\nclusters: [", &format!("}}]\nclusters: [{cluster}, "));
    let folder = folder(&config, &[]);
    std::fs::copy(filter("ext-auth"), folder.path().join("ext-auth.wasm")).unwrap();
    let mut dev = Dev::start(folder, &[]);
    let address = dev.listener();
    assert_eq!(get(address, "/").status, 200);
    let shown = dev.printed("(between its callbacks)");
    assert!(
        shown.contains("    ext-auth\n      pauses: holds "),
        "{shown}"
    );
    let between = "      + x-user: ada\n      (between its callbacks)\n";
    assert!(shown.ends_with(between), "{shown}");
    assert_eq!(get(address, "/private").status, 403);
    let shown = dev.printed("        forbidden");
    assert!(shown.contains("#2 GET /private -> 403"), "{shown}");
    assert!(shown.contains("ext-auth answers 403"), "{shown}");
    assert!(shown.contains(", 9 bytes\n"), "{shown}");
}

#[test]
fn a_command_that_is_given_builds_the_module_and_is_run_again() {
    use weir_conformance::guests::Map::ResponseHeaders;
    let upstream = upstream();
    let guest = |value| {
        let guest = editor(&[Edit::Add(ResponseHeaders, b"x-version", value)]);
        wat::parse_str(guest).unwrap()
    };
    let folder = folder(&config(&[("own", "")], &upstream), &[]);
    write(folder.path(), "source.bin", guest(b"1"));
    let build = "own=cp source.bin own.wasm";
    let mut dev = Dev::start(folder, &["--build", build]);
    let found = dev.printed("own: ");
    assert!(
        found.contains("(--build), built by `cp source.bin own.wasm`"),
        "{found}"
    );
    let address = dev.listener();
    assert_eq!(get(address, "/").header("x-version"), Some("1"));
    write(dev.folder.path(), "source.bin", guest(b"2"));
    dev.printed("reloaded: ");
    assert_eq!(get(address, "/").header("x-version"), Some("2"));
    // What a configuration gets wrong is told, and changes nothing.
    dev.edit("weir.yaml", |text| {
        text.replace("cluster: web }", "cluster: nowhere }")
    });
    let refused = dev.printed("nowhere");
    assert!(
        refused.contains("not reloaded, what was served goes on"),
        "{refused}"
    );
    assert_eq!(get(address, "/").header("x-version"), Some("2"));
}

#[test]
fn it_waits_for_a_module_that_does_not_build_yet() {
    let upstream = upstream();
    let folder = folder(&config(&[("own", "")], &upstream), &[]);
    let mut dev = Dev::start(folder, &["--build", "own=cp source.bin own.wasm"]);
    dev.printed("the build has failed");
    dev.printed("waiting for a change");
    let errors = dev.text(".stderr");
    assert!(errors.contains("own.wasm"), "{errors}");
    write(
        dev.folder.path(),
        "source.bin",
        wat::parse_str(editor(&[])).unwrap(),
    );
    let address = dev.listener();
    assert_eq!(get(address, "/").status, 200);
}

#[test]
fn it_waits_for_a_configuration_that_is_put_right() {
    let upstream = upstream();
    let wrong = config(&[("own", ", failure_policy: FAIL")], &upstream);
    let missing = config(&[("own", "")], &upstream);
    let right = missing.replace("own.wasm", "there.wasm");
    let module = editor(&[]);
    let mut dev = Dev::start(folder(&wrong, &[("there", &module)]), &[]);
    dev.printed("waiting for a change");
    dev.edit("weir.yaml", |_| missing);
    dev.printed("waiting for a change");
    dev.edit("weir.yaml", |_| right);
    let address = dev.listener();
    assert_eq!(get(address, "/").status, 200);
}

#[test]
fn ctrl_c_ends_a_build_and_what_it_has_started() {
    let upstream = upstream();
    let folder = folder(&config(&[("own", "")], &upstream), &[]);
    let build = "own=sh -c 'echo $$ > pid.part; mv pid.part pid; sleep 1000; true' & wait";
    let mut dev = Dev::start(folder, &["--build", build]);
    dev.printed("building: ");
    let pid = eventually("the build has begun", || {
        let pid = std::fs::read_to_string(dev.path("pid")).ok()?;
        Some(pid.trim_end().to_owned())
    });
    let is_running = || {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let state = state.rsplit_once(") ")?.1.chars().next()?;
        (state != 'Z').then_some(())
    };
    assert_eq!(is_running(), Some(()));
    let status = dev.interrupt();
    assert_eq!(status.code(), Some(130), "{:?}", status.signal());
    eventually("the build ends", || is_running().is_none().then_some(()));
}

#[test]
fn a_command_for_a_filter_that_is_not_there_is_refused() {
    let upstream = upstream();
    let folder = folder(&config(&[("own", "")], &upstream), &[]);
    let output = run(
        folder.path(),
        &["dev", "--build", "other=make", "weir.yaml"],
    );
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("no filter with a module in a file is called `other`"),
        "{error}"
    );
}
