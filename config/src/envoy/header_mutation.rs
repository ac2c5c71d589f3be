//! Envoy's `HeaderValueOption` and the lists of them.

use super::message::Message;
use crate::route::{AppendAction, HeaderMutations, HeaderToAdd, check_name, read_value};
use crate::source::Spanned;

const ACTIONS: [(&str, i64, AppendAction); 4] = [
    (
        "APPEND_IF_EXISTS_OR_ADD",
        0,
        AppendAction::AppendIfExistsOrAdd,
    ),
    ("ADD_IF_ABSENT", 1, AppendAction::AddIfAbsent),
    (
        "OVERWRITE_IF_EXISTS_OR_ADD",
        2,
        AppendAction::OverwriteIfExistsOrAdd,
    ),
    ("OVERWRITE_IF_EXISTS", 3, AppendAction::OverwriteIfExists),
];

/// `request_headers_to_add` and the three like it.
pub(super) fn read(message: &Message<'_, '_>) -> HeaderMutations {
    let [request_add, request_remove, response_add, response_remove] = HeaderMutations::KEYS;
    HeaderMutations {
        request_add: added(message, request_add),
        request_remove: removed(message, request_remove),
        response_add: added(message, response_add),
        response_remove: removed(message, response_remove),
    }
}

fn added(message: &Message<'_, '_>, name: &'static str) -> Vec<HeaderToAdd> {
    let options = message.messages(name);
    options.iter().filter_map(header).collect()
}

fn header(option: &Message<'_, '_>) -> Option<HeaderToAdd> {
    let append_action = option.word("append_action", &ACTIONS);
    // The older way to say it.
    let overwrite = option.flag("append") == Some(false);
    let keep_empty_value = option.flag("keep_empty_value").unwrap_or(false);
    let Some(header) = option.message("header") else {
        option.missing("header");
        return None;
    };
    let key = header.required_text("key");
    let key_path = header.path_of("key");
    header
        .reader
        .native(&key_path, |problems| check_name(&key, problems));
    let value = header
        .text("value")
        .unwrap_or_else(|| Spanned::new(String::new(), header.at()));
    let path = header.path_of("value");
    let read = |problems: &mut _| read_value(&value.value, value.span, problems);
    Some(HeaderToAdd {
        value: header.reader.native(&path, read),
        key,
        append_action: match append_action {
            Some(action) => action,
            None if overwrite => AppendAction::OverwriteIfExistsOrAdd,
            None => AppendAction::default(),
        },
        keep_empty_value,
    })
}

fn removed(message: &Message<'_, '_>, name: &'static str) -> Vec<Spanned<String>> {
    let names = message.texts(name);
    let path = message.path_of(name);
    for name in &names {
        message
            .reader
            .native(&path, |problems| check_name(name, problems));
    }
    names
}
