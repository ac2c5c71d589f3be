//! What a person types: `cargo xtask <command>`.

#![forbid(unsafe_code)]

mod bench;
mod book;
mod budget;
mod conformance;
mod debian;
mod demo;
mod envoy;
mod filters;
mod go;
mod guests;
mod languages;
mod layout;
mod lint;
mod module;
mod process;
mod programs;
mod progress;
mod pypi;
mod release;
mod stress;
mod test;
mod toolchain;
mod workspace;

use std::env;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <command>

  bench     measure Weir beside Envoy and nginx, for three quarters of an hour, and
            then the micro benches; with --quick, all scenarios in a few minutes;
            with --only SCENARIO some of them, with --starts N, --rounds N,
            --seconds N how often and how long; with --save, into docs/performance
  budget    count the instructions of ten operations, and compare them with
            benches/budget.json; with --update, write that file
  book      make pages of the guide for those who write filters, in target/book
  chaos healthy, chaos leaks, chaos recovery, chaos isolation, chaos reloads, chaos swap
            run Weir with a filter that loops, leaks, traps and lies, and see what
            others notice; with --help, how much
  chaos connections, chaos upstreams
            run Weir with clients that wait, are slow or say what is bad, and with
            endpoints that fail; with --beside-envoy in front, Envoy as well
  conformance
            play the cases in conformance/cases against Weir and a real Envoy;
            with --only GROUP[/CASE] some of them, with -v what was seen in each,
            with --record, --record-weir, --record-open write down what is expected,
            with --random SEED --count N make cases by chance
  demo      start a gateway with three filters and show what they do;
            with --once, end after showing it
  discovery measure what a management server with thousands of clusters costs, Weir and
            Envoy
  filters   build Weir's own filters into target/filters
  fuzz      play hostile guests, modules and bytes to the host, for a minute;
            with --seconds N, --seed S, and --round R to play one round again;
            with --sanitize before those, under AddressSanitizer, on Linux: the
            build takes a quarter of an hour
  guests    build the tests' guests, and filters in other languages than Rust
  interrupts
            end guests that never return, at random moments; with --count N,
            --seed S, --threads T, and --counter for guests that count
  languages
            measure what the same filter costs in each language
  lint      check formatting and lints
  release   build Weir into target/release, optimised by what it does under load: it is
            built, loaded and built again, which takes an hour of CPU
  sidecars  measure what a call costs that passes two sidecars, Weir's and Envoy's, in
            network namespaces, which take root; with --rounds N, --seconds N,
            --rate N how long, and how many requests a second
  soak callouts
            run Weir in front of servers that answer, stall, reset and close by
            chance, with a million callouts; with --count N, --seed S
  test      build all of these and run every test; with lint if CI is set
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["bench", ref rest @ ..] => bench::run(rest),
        ["budget"] => budget::run(false).map(|missing| {
            missing.iter().for_each(|line| println!("{line}"));
        }),
        ["budget", "--update"] => budget::run(true).map(drop),
        ["book"] => book::run(),
        ["chaos", ref rest @ ..] => stress::chaos(rest),
        ["conformance", ref rest @ ..] => conformance::run(rest).map(drop),
        ["demo"] => demo::run(false),
        ["demo", "--once"] => demo::run(true),
        ["discovery"] => bench::discovery::run(),
        ["filters"] => filters::run(),
        ["fuzz", ref rest @ ..] => stress::fuzz(rest),
        ["guests"] => guests::run(),
        ["interrupts", ref rest @ ..] => stress::interrupts(rest),
        ["languages"] => languages::run(),
        ["lint"] => lint::run(),
        ["release"] => release::run(),
        ["sidecars", ref rest @ ..] => bench::sidecars::run(rest),
        ["soak", "callouts", ref rest @ ..] => stress::soak(rest),
        ["test"] => test::run(),
        ["help" | "-h" | "--help"] => {
            print!("{USAGE}");
            Ok(())
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
