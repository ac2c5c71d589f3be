//! [`Printer`]: what the tap tells, for a person.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use bytes::Bytes;
use weir_abi::{BodyStatus, Direction, Frame, HeadersStatus, TrailersStatus};
use weir_devtools::dev::{SourceFrame, source_frames};

use super::Modules;
use super::diff::{self, Line, shown};
use crate::limits::TAP_DIFF_LINES;
use crate::stream::{Action, HeaderChange, HeaderChanges};
use crate::tap::{Answer, BodyChange, Callback, Effect, FilterFailure, Note, Request, Told};

const HEAD: Style = Style::new().bold();
const ADDED: Style = AnsiColor::Green.on_default();
const REMOVED: Style = AnsiColor::Red.on_default();
const CHANGED: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const SOFT: Style = Style::new().dimmed();

/// Prints what the tap tells, with colours where there is a terminal and `NO_COLOR` does
/// not forbid it.
pub(super) struct Printer {
    modules: Arc<Mutex<Modules>>,
    /// The working directory.
    folder: Option<PathBuf>,
}

impl Printer {
    pub(super) fn new(modules: Arc<Mutex<Modules>>) -> Self {
        let folder = std::env::current_dir().ok();
        Self { modules, folder }
    }

    /// Prints until nobody tells anything any more.
    pub(super) fn run(&self, told: &Receiver<Told>) {
        while let Ok(told) = told.recv() {
            let text = self.text(&told);
            let mut out = anstream::stdout().lock();
            // Whoever has read it may have gone.
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        }
    }

    fn text(&self, told: &Told) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = match told {
            Told::Listening(name, address) => writeln!(text, "listening: {name} at {address}"),
            Told::Request(told) => request(&mut text, told),
            Told::Failure(failure) => self.failure(&mut text, failure),
            Told::Reload(Ok(report)) => writeln!(text, "reloaded: {}", report.trim_end()),
            Told::Reload(Err(error)) => writeln!(
                text,
                "{BAD}not reloaded{BAD:#}, what was served goes on: {}",
                error.trim_end()
            ),
            Told::Dropped(count) => writeln!(text, "{BAD}{count} more were not shown{BAD:#}"),
        };
        text
    }

    /// A filter's failure, with where in its sources it was.
    fn failure(&self, text: &mut String, told: &FilterFailure) -> fmt::Result {
        let failure = &told.failure;
        writeln!(
            text,
            "{BAD}{} failed in {} ({}){BAD:#}: {}",
            told.plugin,
            failure.callback,
            failure.reason,
            shown(&failure.message)
        )?;
        for line in failure.last_words.iter().flat_map(|words| words.lines()) {
            writeln!(text, "    said: {}", shown(line))?;
        }
        let frames = &failure.backtrace;
        let sources = self.sources(told, frames);
        for (frame, sources) in frames.iter().zip(sources) {
            if sources.is_empty() {
                writeln!(text, "    {SOFT}{}{SOFT:#}", shown(&frame.to_string()))?;
            }
            for mut source in sources {
                if let Some(path) = self.relative(&source.file) {
                    source.file = path;
                }
                writeln!(text, "    {}", shown(&source.to_string()))?;
            }
        }
        Ok(())
    }

    /// A path as it is from here, if it is below.
    fn relative(&self, path: &str) -> Option<String> {
        let path = Path::new(path).strip_prefix(self.folder.as_ref()?).ok()?;
        Some(path.display().to_string())
    }

    /// Where the frames come from, by the module that has failed.
    fn sources(&self, told: &FilterFailure, frames: &[Frame]) -> Vec<Vec<SourceFrame>> {
        let modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        let module = modules.get(&told.module);
        drop(modules);
        let offsets: Vec<_> = frames.iter().map(|frame| frame.offset).collect();
        source_frames(&module.unwrap_or_default(), &offsets)
    }
}

fn request(text: &mut String, request: &Request) -> fmt::Result {
    let line = &request.line;
    let took = Duration::from_micros(request.took.as_micros() as u64);
    let status = match request.status {
        Some(status) => status.to_string(),
        None => "no response".to_owned(),
    };
    let style = match request.status {
        Some(..500) => HEAD,
        _ => BAD,
    };
    writeln!(
        text,
        "{style}#{} {} {} -> {status}{style:#} {SOFT}in {}{}{}{SOFT:#}",
        line.number,
        shown(&line.method),
        shown(&line.target),
        humantime::format_duration(took),
        match &request.upstream {
            Some(upstream) => format!(", from {upstream}"),
            None => String::new(),
        },
        match (&request.details[..], request.flags.as_str()) {
            (b"via_upstream" | b"", "-" | "") => String::new(),
            (details, "-" | "") => format!(", {}", lossy(details)),
            (details, flags) => format!(", {} ({flags})", lossy(details)),
        }
    )?;
    for (direction, title) in [
        (Direction::Request, "request"),
        (Direction::Response, "response"),
    ] {
        let order = filters(request, direction);
        if !order.is_empty() {
            writeln!(text, "  {SOFT}{title}{SOFT:#}")?;
        }
        for filter in order {
            let name = request.filters.get(filter).map_or("?", String::as_str);
            effects(text, request, direction, filter, name)?;
        }
    }
    for note in &request.notes.list {
        if let Note::Answer(answer) = note {
            let name = request.filters.get(answer.filter);
            self::answer(text, name.map_or("?", String::as_str), answer)?;
        }
    }
    if request.notes.omitted > 0 {
        let omitted = request.notes.omitted;
        writeln!(
            text,
            "  {SOFT}{omitted} more callbacks are not shown{SOFT:#}"
        )?;
    }
    Ok(())
}

/// The filters that had to do with a direction, in the order in which they had.
fn filters(request: &Request, direction: Direction) -> Vec<usize> {
    let mut order = Vec::new();
    for effect in all(request, direction) {
        if !order.contains(&effect.filter) {
            order.push(effect.filter);
        }
    }
    order
}

fn all(request: &Request, direction: Direction) -> impl Iterator<Item = &Effect> {
    let effects = request.notes.list.iter().filter_map(|note| match note {
        Note::Effect(effect) => Some(&**effect),
        Note::Answer(_) => None,
    });
    effects.filter(move |effect| effect.direction == direction)
}

/// What one filter has done to one direction.
fn effects(
    text: &mut String,
    request: &Request,
    direction: Direction,
    filter: usize,
    name: &str,
) -> fmt::Result {
    let mine: Vec<_> = all(request, direction)
        .filter(|e| e.filter == filter)
        .collect();
    let is_quiet =
        |effect: &&Effect| !effect.changes_something() && effect.action.is_none_or(Action::goes_on);
    if mine.iter().all(is_quiet) {
        return writeln!(text, "    {name}: {SOFT}no change{SOFT:#}");
    }
    writeln!(text, "    {name}")?;
    for effect in mine.into_iter().filter(|effect| !is_quiet(effect)) {
        headers(text, "", effect.headers.as_ref())?;
        if let Some(change) = &effect.body {
            body(text, change)?;
        }
        headers(text, "trailer ", effect.trailers.as_ref())?;
        match effect.action {
            Some(Action::Failed) => writeln!(text, "      {BAD}fails{BAD:#}")?,
            Some(action) if !action.goes_on() => {
                writeln!(
                    text,
                    "      {}{}",
                    pauses(action),
                    what_held(effect.callback)
                )?;
            }
            _ if effect.callback == Callback::Between => {
                writeln!(text, "      {SOFT}(between its callbacks){SOFT:#}")?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn pauses(action: Action) -> &'static str {
    match action {
        Action::Headers(HeadersStatus::StopIteration) => "pauses: holds the headers",
        Action::Headers(_) => "pauses: holds everything",
        Action::Body(BodyStatus::StopNoBuffer) => "keeps the body for itself",
        Action::Body(_) => "pauses: holds the body",
        Action::Trailers(TrailersStatus::Stop) => "pauses: holds the trailers",
        Action::Trailers(TrailersStatus::Continue) | Action::Failed => "",
    }
}

fn what_held(callback: Callback) -> String {
    match callback {
        Callback::Body { pieces: 1, bytes } => format!(", {bytes} bytes"),
        Callback::Body { pieces, bytes } => format!(", {bytes} bytes in {pieces} callbacks"),
        Callback::Headers | Callback::Trailers | Callback::Between => String::new(),
    }
}

fn headers(text: &mut String, kind: &str, changes: Option<&HeaderChanges>) -> fmt::Result {
    let changes = match changes {
        None => return Ok(()),
        Some(HeaderChanges::Order) => {
            return writeln!(text, "      {CHANGED}~{CHANGED:#} {kind}order of headers");
        }
        Some(HeaderChanges::Values(changes)) => changes,
    };
    for HeaderChange {
        name,
        before,
        after,
    } in changes
    {
        let name = format!("{kind}{}", lossy(name));
        match (&before[..], &after[..]) {
            ([before], [after]) => writeln!(
                text,
                "      {CHANGED}~ {name}: {} -> {}{CHANGED:#}",
                lossy(before),
                lossy(after)
            )?,
            (before, after) => {
                let (gone, new) = without_common(before, after);
                for value in gone {
                    writeln!(text, "      {REMOVED}- {name}: {}{REMOVED:#}", lossy(value))?;
                }
                for value in new {
                    writeln!(text, "      {ADDED}+ {name}: {}{ADDED:#}", lossy(value))?;
                }
            }
        }
    }
    Ok(())
}

/// The values that are on one side only; all of them, if only their order differs.
fn without_common<'v>(before: &'v [Bytes], after: &'v [Bytes]) -> (Vec<&'v Bytes>, Vec<&'v Bytes>) {
    let mut new: Vec<_> = after.iter().collect();
    let mut gone = Vec::new();
    for value in before {
        match new.iter().position(|other| *other == value) {
            Some(at) => {
                new.remove(at);
            }
            None => gone.push(value),
        }
    }
    if gone.is_empty() && new.is_empty() {
        return (before.iter().collect(), after.iter().collect());
    }
    (gone, new)
}

fn body(text: &mut String, change: &BodyChange) -> fmt::Result {
    let (before, after) = (change.before.length, change.after.length);
    writeln!(
        text,
        "      {CHANGED}~ body: {before} -> {after} bytes{CHANGED:#}"
    )?;
    for line in diff::lines(change) {
        match line {
            Line::Same(line) => writeln!(text, "         {SOFT}{line}{SOFT:#}")?,
            Line::Removed(line) => writeln!(text, "        {REMOVED}-{line}{REMOVED:#}")?,
            Line::Added(line) => writeln!(text, "        {ADDED}+{line}{ADDED:#}")?,
            Line::More(count) => writeln!(text, "        {SOFT}{count} more lines{SOFT:#}")?,
            Line::Cut => writeln!(text, "        {SOFT}only the beginning is compared{SOFT:#}")?,
        }
    }
    Ok(())
}

/// An answer of a filter in place of the upstream's.
fn answer(text: &mut String, name: &str, answer: &Answer) -> fmt::Result {
    let length = answer.body.length;
    write!(text, "  {CHANGED}{name} answers {}{CHANGED:#}", answer.code)?;
    if !answer.details.is_empty() {
        write!(text, " ({})", lossy(&answer.details))?;
    }
    writeln!(text, ", {length} bytes")?;
    for (name, value) in &answer.headers {
        writeln!(
            text,
            "      {ADDED}+ {}: {}{ADDED:#}",
            lossy(name),
            lossy(value)
        )?;
    }
    let lines = diff::text(&answer.body).into_iter().flat_map(str::lines);
    for line in lines.take(TAP_DIFF_LINES) {
        writeln!(text, "        {}", shown(line))?;
    }
    Ok(())
}

/// Bytes as they may stand in a line.
fn lossy(bytes: &[u8]) -> String {
    shown(&String::from_utf8_lossy(bytes))
}
