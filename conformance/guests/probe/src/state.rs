//! What the guest remembers: the scripts of its root contexts, its live streams.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use crate::script::{self, Moment, Section};

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

#[derive(Default)]
pub struct State {
    scripts: HashMap<u32, Rc<Vec<Section>>>,
    contexts: BTreeMap<u32, Context>,
    last: u32,
    last_bytes: Vec<u8>,
}

#[derive(Default)]
struct Context {
    /// 0 for a root context.
    parent: u32,
    path: String,
    had: HashMap<String, u32>,
}

impl State {
    pub fn created(context: u32, parent: u32) {
        STATE.with_borrow_mut(|state| {
            let context = state.contexts.entry(context).or_default();
            context.parent = parent;
        });
    }

    pub fn deleted(context: u32) {
        STATE.with_borrow_mut(|state| state.contexts.remove(&context));
    }

    /// Adds to what a root context and its streams are to do.
    pub fn configure(root: u32, text: &[u8]) {
        let script = script::parse(&String::from_utf8_lossy(text));
        STATE.with_borrow_mut(|state| state.scripts.insert(root, Rc::new(script)));
    }

    pub fn set_path(context: u32, path: String) {
        STATE.with_borrow_mut(|state| {
            if let Some(context) = state.contexts.get_mut(&context) {
                context.path = path;
            }
        });
    }

    /// Whether some script asks for paths: otherwise they are not looked up.
    pub fn wants_path(context: u32) -> bool {
        STATE.with_borrow(|state| {
            let script = state.script(context);
            script.is_some_and(|script| script.iter().any(Section::wants_path))
        })
    }

    /// What the script has for this callback, counting the call.
    pub fn due(context: u32, callback: &str, end: bool) -> Vec<Vec<Vec<String>>> {
        STATE.with_borrow_mut(|state| {
            let entry = state.contexts.entry(context).or_default();
            let nth = entry.had.entry(callback.to_owned()).or_default();
            *nth += 1;
            let (nth, path) = (*nth, entry.path.clone());
            let Some(script) = state.script(context) else {
                return Vec::new();
            };
            let oldest = state.contexts.values().find(|context| context.parent != 0);
            let had = |callback: &str| {
                let count = oldest.and_then(|oldest| oldest.had.get(callback));
                count.copied().unwrap_or(0)
            };
            let moment = Moment {
                end,
                nth,
                path: &path,
                had: &had,
            };
            let sections = script.iter().filter(|section| section.callback == callback);
            let due = sections.filter(|section| section.starts(&moment));
            due.map(|section| section.operations.clone()).collect()
        })
    }

    fn script(&self, context: u32) -> Option<Rc<Vec<Section>>> {
        let parent = self
            .contexts
            .get(&context)
            .map_or(0, |context| context.parent);
        let root = if parent == 0 { context } else { parent };
        self.scripts.get(&root).cloned()
    }

    /// The live stream contexts, oldest first.
    pub fn streams() -> Vec<u32> {
        STATE.with_borrow(|state| {
            let contexts = state.contexts.iter();
            let streams = contexts.filter(|(_, context)| context.parent != 0);
            streams.map(|(&id, _)| id).collect()
        })
    }

    /// The root context of a context.
    pub fn root(context: u32) -> u32 {
        STATE.with_borrow(|state| match state.contexts.get(&context) {
            Some(found) if found.parent != 0 => found.parent,
            _ => context,
        })
    }

    /// What `last` stands for: the latest id, token or CAS that a hostcall gave.
    pub fn last() -> u32 {
        STATE.with_borrow(|state| state.last)
    }

    pub fn set_last(last: u32) {
        STATE.with_borrow_mut(|state| state.last = last);
    }

    /// What `$last` stands for: the bytes that a foreign function gave last.
    pub fn last_bytes() -> Vec<u8> {
        STATE.with_borrow(|state| state.last_bytes.clone())
    }

    pub fn set_last_bytes(bytes: &[u8]) {
        STATE.with_borrow_mut(|state| state.last_bytes = bytes.to_vec());
    }
}
