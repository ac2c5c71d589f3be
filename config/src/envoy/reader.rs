//! What reading a bootstrap gathers besides the configuration.

use std::cell::{Cell, RefCell};

use super::Leniency;
use super::secret::Secrets;
use crate::error::Problem;
use crate::problems::Problems;
use crate::source::Span;

/// Problems and warnings of one bootstrap. Messages refer to it from many
/// places at once, hence the cells.
pub(super) struct Reader {
    leniency: Leniency,
    /// Whether it is a resource of a management server.
    is_resource: bool,
    /// Why nothing is passed over just now, if so.
    guard: Cell<Option<&'static str>>,
    problems: RefCell<Problems>,
    warnings: RefCell<Problems>,
    /// What TLS refers to by name.
    pub(super) secrets: RefCell<Secrets>,
}

impl Reader {
    pub(super) fn new(leniency: Leniency, problems: Problems) -> Self {
        Self {
            leniency,
            is_resource: false,
            guard: Cell::new(None),
            problems: RefCell::new(problems),
            warnings: RefCell::default(),
            secrets: RefCell::default(),
        }
    }

    /// Of a single resource of a management server.
    pub(super) fn of_resource(leniency: Leniency) -> Self {
        Self {
            is_resource: true,
            ..Self::new(leniency, Problems::default())
        }
    }

    /// Whether it is a resource of a management server: what it names may come later.
    pub(super) fn is_resource(&self) -> bool {
        self.is_resource
    }

    /// What becomes of what Weir does not do.
    pub(super) fn leniency(&self) -> Leniency {
        self.leniency
    }

    /// Problems, and warnings.
    pub(super) fn into_parts(self) -> (Problems, Problems) {
        (self.problems.into_inner(), self.warnings.into_inner())
    }

    /// Notes something that cannot be passed over.
    pub(super) fn problem(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// Notes what Weir does not do: an error, or a warning where that is asked
    /// for.
    pub(super) fn outside(&self, span: Span, what: &str, help: Option<String>) {
        let lenient = self.leniency == Leniency::Lenient;
        let guard = self.guard.get().filter(|_| lenient);
        let passed_over = lenient && guard.is_none();
        let end = if passed_over { ": passed over" } else { "" };
        let mut problem = Problem::new(span, format!("{what} is not supported{end}"));
        problem.help = help.or_else(|| guard.map(str::to_owned));
        if passed_over {
            self.warnings.borrow_mut().push(problem);
        } else {
            self.problem(problem);
        }
    }

    /// Notes what Weir does not do, and what must not be passed over: `why`.
    pub(super) fn never(&self, span: Span, what: &str, why: &str) {
        let message = format!("{what} is not supported");
        self.problem(Problem::new(span, message).help(why));
    }

    /// Notes what is passed over without harm.
    pub(super) fn warn(&self, span: Span, message: String) {
        self.warnings.borrow_mut().push(Problem::new(span, message));
    }

    /// Passes nothing over while `read` is at work: `why`.
    pub(super) fn guarded<T>(&self, why: &'static str, read: impl FnOnce() -> T) -> T {
        let before = self.guard.replace(Some(why));
        let value = read();
        self.guard.set(before);
        value
    }

    /// Tells what becomes of something that was passed over. The strict reader
    /// has refused it.
    pub(super) fn consequence(&self, span: Span, message: String) {
        if self.leniency == Leniency::Lenient {
            self.warnings.borrow_mut().push(Problem::new(span, message));
        }
    }

    /// Lets a reader of Weir's own form note what it finds at `path`.
    pub(super) fn native<T>(&self, path: &str, read: impl FnOnce(&mut Problems) -> T) -> T {
        let mut found = Problems::default();
        let value = read(&mut found);
        let mut problems = self.problems.borrow_mut();
        for mut problem in found.into_list() {
            problem.message = format!("{path}: {}", problem.message);
            problems.push(problem);
        }
        value
    }
}
