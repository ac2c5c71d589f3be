//! [`Suite`]: a file of tests.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use weir_abi::{Capabilities, HeaderValues};
use weir_config::{ConfigError, Document, Element, Span};

use super::data;
use super::expect::{self, Expect};
use super::step::Step;
use crate::driver::Setup;
use crate::fields::{self, Fields, Read};

/// A file of tests of one filter.
pub(crate) struct Suite {
    document: Document,
    /// Path of the module, if the suite names one, and where it does.
    pub(crate) plugin: Option<(PathBuf, Span)>,
    pub(super) tests: Vec<Test>,
    /// What is measured: the steps of each are played again and again.
    pub(crate) benches: Vec<Test>,
}

/// One test, or one bench.
pub(crate) struct Test {
    pub(crate) name: String,
    pub(crate) ignored: bool,
    pub(crate) setup: Setup,
    pub(super) shared_data: Vec<(Bytes, Bytes)>,
    /// Properties of every stream.
    pub(super) properties: crate::driver::Properties,
    /// What is expected of the start.
    pub(super) expect: Expect,
    /// Of a bench: steps that are played once, before it is measured.
    pub(super) before: Vec<Step>,
    pub(super) steps: Vec<Step>,
    pub(super) span: Span,
}

/// Keys that stand at a suite, for all tests, or at one test.
const SETTINGS: [&str; 15] = [
    "plugin_name",
    "root_id",
    "vm_id",
    "vm_configuration",
    "environment",
    "configuration",
    "allow_on_headers_stop_iteration",
    "header_values",
    "allowed_capabilities",
    "log_level",
    "now",
    "clusters",
    "properties",
    "shared_data",
    "buffer_limit",
];

/// Where a test starts in time unless it says otherwise: 2026-01-01T00:00:00Z.
const START: Duration = Duration::from_secs(1_767_225_600);

impl Suite {
    /// Reads `text`; paths in it stand beside `path`. A configuration that is given on
    /// the command line takes the place of the suite's own.
    pub(crate) fn read(path: &Path, text: &str, configuration: Option<&[u8]>) -> Read<Self> {
        let document = Document::parse(&path.display().to_string(), text)?;
        let folder = fields::folder(path);
        let known: Vec<_> = ["plugin", "tests", "benches"]
            .into_iter()
            .chain(SETTINGS)
            .collect();
        let fields = Fields::open(document.root(), "a test suite", &known)?;
        let plugin = fields.text("plugin")?;
        let plugin = plugin.map(|plugin| (folder.join(plugin), fields.span("plugin")));
        let name = plugin.as_ref().and_then(|(path, _)| path.file_stem());
        let name = name.map_or("filter".into(), |stem| stem.to_string_lossy());
        let mut defaults = Test {
            name: String::new(),
            ignored: false,
            setup: Setup {
                now: START,
                ..Setup::new(&name, Vec::new())
            },
            shared_data: Vec::new(),
            properties: crate::driver::Properties::default(),
            expect: Expect::default(),
            before: Vec::new(),
            steps: Vec::new(),
            span: Span::default(),
        };
        defaults.set(&fields, &folder)?;
        if let Some(configuration) = configuration {
            defaults.setup.plugin.configuration = Bytes::copy_from_slice(configuration);
        }
        let (tests, benches) = (fields.get("tests"), fields.get("benches"));
        if tests.is_none() && benches.is_none() {
            let error = document.root();
            let error = error.error("a test suite needs the key `tests`, or `benches`");
            return Err(error.into());
        }
        let read = |kind, list| defaults.read_all(kind, list, &folder);
        Ok(Self {
            plugin,
            tests: read(Kind::Test, tests)?,
            benches: read(Kind::Bench, benches)?,
            document,
        })
    }

    /// An error at a place of the suite.
    pub(crate) fn error(&self, span: Span, message: impl Into<String>) -> ConfigError {
        self.document.root().error_at(span, message)
    }

    /// `FILE:LINE:COLUMN` of a place.
    pub(super) fn place(&self, span: Span) -> String {
        let source = self.document.source();
        let at = source.position(span.start);
        format!("{}:{}:{}", source.name(), at.line, at.column)
    }
}

/// Whether something is tested or measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Test,
    Bench,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Test => "a test",
            Self::Bench => "a bench",
        }
    }

    /// The key of a list of them.
    fn list(self) -> &'static str {
        match self {
            Self::Test => "tests",
            Self::Bench => "benches",
        }
    }
}

impl Test {
    fn read_all(&self, kind: Kind, list: Option<Element<'_>>, folder: &Path) -> Read<Vec<Self>> {
        let mut all: Vec<Self> = Vec::new();
        let elements = list.map(fields::list).transpose()?;
        for element in elements.unwrap_or_default() {
            let test = self.read(kind, element, folder)?;
            if all.iter().any(|known| known.name == test.name) {
                let message = format!("there are two of `{}` called `{}`", kind.list(), test.name);
                return Err(element.error(message).into());
            }
            all.push(test);
        }
        Ok(all)
    }

    /// A test or bench with these settings unless it has its own.
    fn read(&self, kind: Kind, element: Element<'_>, folder: &Path) -> Read<Self> {
        let own: &[&str] = match kind {
            Kind::Test => &["name", "ignore", "steps", "expect"],
            Kind::Bench => &["name", "ignore", "before", "steps", "expect"],
        };
        let known: Vec<_> = own.iter().copied().chain(SETTINGS).collect();
        let fields = Fields::open(element, kind.name(), &known)?;
        let Some(name) = fields.text("name")? else {
            let message = format!("{} needs the key `name`", kind.name());
            return Err(element.error(message).into());
        };
        let mut test = Self {
            name,
            ignored: fields.bool("ignore")?.unwrap_or(false),
            setup: self.setup.clone(),
            shared_data: self.shared_data.clone(),
            properties: self.properties.clone(),
            expect: Expect::read(fields.get("expect"), folder)?,
            before: Vec::new(),
            steps: Vec::new(),
            span: element.at(),
        };
        test.set(&fields, folder)?;
        for (key, steps) in [("before", &mut test.before), ("steps", &mut test.steps)] {
            if let Some(list) = fields.get(key) {
                let list = fields::list(list)?.into_iter();
                *steps = list.map(|s| Step::read(s, folder)).collect::<Read<_>>()?;
            }
        }
        if kind == Kind::Bench && test.steps.is_empty() {
            return Err(element
                .error("a bench without `steps` measures nothing")
                .into());
        }
        Ok(test)
    }

    /// Takes over the settings that are there.
    fn set(&mut self, fields: &Fields<'_>, folder: &Path) -> Read<()> {
        let Setup { vm, plugin, .. } = &mut self.setup;
        if let Some(name) = fields.text("plugin_name")? {
            plugin.name = name;
        }
        if let Some(root_id) = fields.text("root_id")? {
            plugin.root_id = root_id;
        }
        if let Some(vm_id) = fields.text("vm_id")? {
            vm.vm_id = vm_id;
        }
        if let Some(configuration) = configuration(fields, "vm_configuration", folder)? {
            vm.configuration = configuration;
        }
        if let Some(configuration) = configuration(fields, "configuration", folder)? {
            plugin.configuration = configuration;
        }
        if let Some(environment) = fields.get("environment") {
            let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
            let variables = data::values(environment, folder)?;
            vm.environment = variables.iter().map(|(k, v)| (text(k), text(v))).collect();
        }
        if let Some(allow) = fields.bool("allow_on_headers_stop_iteration")? {
            plugin.allow_on_headers_stop_iteration = allow;
        }
        if let Some(element) = fields.get("header_values") {
            plugin.header_values = match element.text() {
                Some("pass") => HeaderValues::Pass,
                Some("escape") => HeaderValues::Escape,
                Some("drop") => HeaderValues::Drop,
                _ => return Err(fields::expected(element, "`pass`, `escape` or `drop`")),
            };
        }
        if let Some(names) = fields.get("allowed_capabilities") {
            vm.capabilities = Capabilities::only(fields::texts(names)?);
        }
        if let Some(level) = fields.get("log_level") {
            self.setup.log_level = expect::level(level)?;
        }
        if let Some(now) = fields.get("now") {
            self.setup.now = moment(now)?;
        }
        if let Some(clusters) = fields.get("clusters") {
            self.setup.clusters = Some(fields::texts(clusters)?);
        }
        if let Some(properties) = fields.get("properties") {
            let properties = data::properties(properties)?;
            self.properties = self.properties.with(&properties);
            self.setup.properties = self.properties.clone();
        }
        if let Some(values) = fields.get("shared_data") {
            self.shared_data.extend(data::values(values, folder)?);
        }
        if let Some(limit) = fields.get("buffer_limit") {
            self.setup.buffer_limit = fields::integer(limit, "a number of bytes")?;
        }
        Ok(())
    }
}

/// A filter's configuration: a string as it is, `{ file: PATH }` what that holds, and
/// anything else as JSON.
fn configuration(fields: &Fields<'_>, key: &str, folder: &Path) -> Read<Option<Bytes>> {
    let Some(element) = fields.get(key) else {
        return Ok(None);
    };
    let entries = element.entries().unwrap_or_default();
    let bytes = match entries[..] {
        [(key, file)] if key.value == "file" => fields::file(file, folder)?,
        _ => element.configuration()?,
    };
    Ok(Some(bytes.into()))
}

/// A moment: seconds since the Unix epoch, or a date and time in UTC.
fn moment(element: Element<'_>) -> Read<Duration> {
    let what = "a moment such as `2026-01-31T12:00:00Z`, or seconds since 1970";
    if let Some(seconds) = element.number().filter(|seconds| *seconds >= 0.0) {
        return Duration::try_from_secs_f64(seconds).map_err(|_| fields::expected(element, what));
    }
    let text = element.text().map(humantime::parse_rfc3339);
    let since = text.and_then(|time| time.ok()?.duration_since(std::time::UNIX_EPOCH).ok());
    since.ok_or_else(|| fields::expected(element, what))
}
