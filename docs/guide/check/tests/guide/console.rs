//! Commands as a reader types them.
//!
//! The commands of a chapter are run one after the other, in a folder that has nothing in
//! it but `filters`, the library, and `target/filters`, its modules. A line that begins with
//! `$ ` is a command, with the lines up to `END` if that is what it is given; what follows
//! is what it prints on both of its outputs. There, `…` stands for anything: for lines if
//! it is alone in one, and otherwise for a part of its line. A command with `&` at its end
//! is left running, and what follows is how its output begins: when it has come, the next
//! one is run.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use regex::Regex;
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use weir_conformance::{in_own_network, weir_binary};
use weir_guide::{fences, root};

use crate::{chapters, document, followed_by};

/// How long a command may take: one of them compiles a filter and all that it needs.
const PATIENCE: Duration = Duration::from_secs(300);

struct Step {
    command: String,
    expected: Vec<String>,
}

/// What ends the text that a command is given in the lines below it.
const END: &str = "END";

fn steps(body: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut in_text = false;
    for line in body.lines() {
        if let (true, Some(step)) = (in_text, steps.last_mut()) {
            step.command += &format!("\n{line}");
            in_text = line != END;
        } else if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step {
                command: command.to_owned(),
                expected: Vec::new(),
            });
            in_text = command.ends_with(&format!("<<'{END}'"));
        } else {
            let step = steps.last_mut().expect("a block begins with a command");
            step.expected.push(line.to_owned());
        }
    }
    steps
}

/// What the expected lines mean; `all` of the output, or its beginning.
fn pattern(expected: &[String], all: bool) -> Regex {
    let mut pattern = String::from("^");
    for line in expected {
        pattern += &match line.trim() {
            "…" => "(?:.*\n)*".to_owned(),
            _ => regex::escape(line.trim_end()).replace('…', ".*") + "\n",
        };
    }
    Regex::new(&(pattern + if all { "$" } else { "" })).unwrap()
}

/// A reader at a terminal.
struct Reader {
    folder: PathBuf,
    /// What curl does here, as it does at a terminal: shows no progress.
    home: TempDir,
    running: Vec<Child>,
}

impl Reader {
    fn new(folder: &Path) -> Self {
        symlink(root().join("filters"), folder.join("filters")).unwrap();
        let modules = weir_conformance::filter("hello");
        fs::create_dir(folder.join("target")).unwrap();
        symlink(modules.parent().unwrap(), folder.join("target/filters")).unwrap();
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(".curlrc"), "silent\nshow-error\n").unwrap();
        Self {
            folder: folder.to_owned(),
            home,
            running: Vec::new(),
        }
    }

    /// Starts a command in a group of its own, with both of its outputs in one.
    fn start(&self, command: &str) -> (Child, impl BufRead + use<>) {
        let weir = weir_binary();
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", weir.parent().unwrap().display());
        let (output, input) = std::io::pipe().unwrap();
        let child = Command::new("bash")
            .args(["-c", command])
            .current_dir(&self.folder)
            .env("PATH", path)
            // What crates are asked for has been fetched for the library.
            .env("CARGO_NET_OFFLINE", "true")
            .env("CARGO_TERM_COLOR", "never")
            .env("NO_COLOR", "1")
            .env("CURL_HOME", self.home.path())
            .env_remove("CARGO_TARGET_DIR")
            .stdin(Stdio::null())
            .stdout(input.try_clone().unwrap())
            .stderr(input)
            .process_group(0)
            .spawn()
            .unwrap();
        (child, BufReader::new(output))
    }

    /// Does a step; says what is not as it is shown.
    fn take(&mut self, step: &Step, may_fail: bool) -> Result<(), String> {
        let command = step.command.trim();
        if let Some(folder) = command.strip_prefix("cd ") {
            self.folder.push(folder);
            return match self.folder.is_dir() {
                true => Ok(()),
                false => Err(format!("there is no {}", self.folder.display())),
            };
        }
        if command.starts_with("rustup ") {
            // The tests have what they need; it may have come in another way.
            return Ok(());
        }
        let stays = command.strip_suffix('&');
        let wanted = pattern(&step.expected, stays.is_none());
        let (mut child, output) = self.start(stays.unwrap_or(command));
        let group = Pid::from_child(&child);
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut lines = output.lines().map_while(Result::ok);
            lines.try_for_each(|line| sender.send(line))
        });
        let deadline = Instant::now() + PATIENCE;
        let mut printed = String::new();
        let ended = loop {
            if stays.is_some() && wanted.is_match(&printed) {
                self.running.push(child);
                // Its output is taken from it as long as it runs.
                thread::spawn(move || lines.iter().for_each(drop));
                return Ok(());
            }
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => printed += &format!("{}\n", line.trim_end()),
                Err(RecvTimeoutError::Disconnected) => break true,
                Err(RecvTimeoutError::Timeout) => break false,
            }
        };
        if !ended || stays.is_some() {
            kill_process_group(group, Signal::KILL).ok();
        }
        let status = child.wait().unwrap();
        if stays.is_none() && ended && status.success() != may_fail && wanted.is_match(&printed) {
            return Ok(());
        }
        let expected = step.expected.join("\n");
        Err(format!(
            "{status}\n--- expected\n{expected}\n--- printed\n{printed}"
        ))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        for child in &mut self.running {
            kill_process_group(Pid::from_child(child), Signal::KILL).ok();
            child.wait().ok();
        }
    }
}

/// Runs all commands of a text; gives how many there were.
fn follow(name: &str, text: &str) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let mut reader = Reader::new(folder.path());
    let mut count = 0;
    for fence in fences(text) {
        let fails = match fence.info.as_deref() {
            Some("console") => false,
            Some("console fails") => true,
            _ => continue,
        };
        let steps = steps(&fence.body);
        for (number, step) in steps.iter().enumerate() {
            let may_fail = fails && number + 1 == steps.len();
            if let Err(wrong) = reader.take(step, may_fail) {
                let line = fence.line;
                panic!("{name}, block of line {line}: {}: {wrong}", step.command);
            }
            count += 1;
        }
    }
    count
}

#[test]
fn commands_print_what_is_shown() {
    in_own_network(|| {
        let mut count = 0;
        for (path, text) in chapters() {
            if followed_by(&path).is_some() {
                continue;
            }
            count += follow(&path.display().to_string(), &text);
        }
        assert!(count > 5, "{count}");
    });
}

#[test]
fn the_commands_of_the_readme_print_what_is_shown() {
    in_own_network(|| assert!(follow("README.md", &document("README.md")) > 3));
}

#[test]
fn a_command_that_prints_something_else_is_noticed() {
    let of = |lines: &[&str], all| {
        let lines: Vec<_> = lines.iter().map(|line| (*line).to_owned()).collect();
        pattern(&lines, all)
    };
    assert!(of(&["a … c", "…", "z"], true).is_match("a b c\nx\ny\nz\n"));
    assert!(!of(&["a … c"], true).is_match("a b c\nd\n"));
    assert!(of(&["a … c"], false).is_match("a b c\nd\n"));
    assert!(!of(&["a"], true).is_match("b\n"));
    assert!(!of(&[], true).is_match("b\n"));
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "text").unwrap();
    let mut reader = Reader::new(folder.path());
    let mut take = |body: &str, may_fail| reader.take(&steps(body)[0], may_fail);
    assert!(take("$ cat file\ntext\n", false).is_ok());
    assert!(take("$ cat file\nother\n", false).is_err());
    assert!(take("$ cat <<'END'\ntext\nEND\ntext\n", false).is_ok());
    assert!(take("$ false\n", false).is_err());
    assert!(take("$ false\n", true).is_ok());
    assert!(take("$ cd nowhere\n", false).is_err());
}
