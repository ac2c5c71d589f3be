use super::*;

fn resource(name: &str, version: &str, value: &'static [u8]) -> Arc<Resource> {
    Arc::new(Resource {
        name: name.into(),
        version: version.into(),
        type_url: "t".into(),
        value: value.into(),
    })
}

fn update(version: &str, resources: Vec<Arc<Resource>>) -> Update {
    Update {
        version: version.into(),
        resources,
        ..Update::default()
    }
}

fn names(names: &[&str]) -> Interest {
    Interest::of_names(names.iter().map(|name| Arc::from(*name)).collect())
}

fn accepted(held: &Held, update: &Update, interest: &Interest) -> (Held, Changes) {
    held.after(update, interest, ResourceLimits::default())
        .unwrap()
}

/// `a` and `b` of version 1.
fn two() -> Held {
    let update = update(
        "1",
        vec![resource("a", "1", b"a"), resource("b", "1", b"b")],
    );
    accepted(&Held::default(), &update, &Interest::All).0
}

fn keys(held: &Held) -> Vec<&str> {
    held.resources.keys().map(|name| &**name).collect()
}

#[test]
fn a_whole_state_removes_what_is_not_in_it() {
    let whole = Update {
        is_whole: true,
        ..update(
            "2",
            vec![resource("b", "2", b"b"), resource("c", "2", b"c")],
        )
    };
    let (held, changes) = accepted(&two(), &whole, &Interest::All);
    assert_eq!(keys(&held), ["b", "c"]);
    assert_eq!(*changes.removed, ["a".into()]);
    assert_eq!(changes.added, [resource("c", "2", b"c")]);
    // Only its version is another one.
    assert_eq!(changes.changed, []);
    assert_eq!(&*held.resources["b"].version, "2");
}

#[test]
fn a_part_leaves_what_is_not_in_it() {
    let (held, changes) = accepted(
        &two(),
        &update("2", vec![resource("b", "2", b"B")]),
        &Interest::All,
    );
    assert_eq!(keys(&held), ["a", "b"]);
    assert_eq!(changes.changed, [resource("b", "2", b"B")]);
    assert!(changes.removed.is_empty());
}

#[test]
fn what_nobody_wants_is_left_out() {
    let all = update(
        "1",
        vec![resource("a", "1", b"a"), resource("b", "1", b"b")],
    );
    let (held, _) = accepted(&Held::default(), &all, &names(&["b"]));
    assert_eq!(keys(&held), ["b"]);
    let held = two().without_unwanted(&names(&["a", "c"])).unwrap();
    assert_eq!(keys(&held), ["a"]);
    assert_eq!(held.bytes, 3);
}

#[test]
fn names_are_awaited_until_something_is_said_of_them() {
    let wanted = names(&["a", "b"]);
    let held = Held::default()
        .expecting(&Interest::Nothing, &wanted)
        .unwrap();
    assert_eq!(held.version_to_resume(), "");
    let (held, _) = accepted(&held, &update("1", vec![resource("a", "1", b"")]), &wanted);
    assert_eq!(held.awaited.len(), 1);
    assert_eq!((held.version(), held.version_to_resume()), ("1", ""));
    let gone = Update {
        removed: vec!["b".into()],
        ..update("1", vec![])
    };
    let (held, changes) = accepted(&held, &gone, &wanted);
    assert!(held.is_complete() && changes.is_empty());
    assert_eq!(held.version_to_resume(), "1");
}

#[test]
fn what_is_refused_in_part_stays_as_it_was() {
    let before = two();
    let new = vec![
        resource("a", "2", b"A"),
        resource("b", "2", b"BB"),
        resource("c", "2", b"c"),
    ];
    let (after, _) = accepted(&before, &update("2", new), &Interest::All);
    let refused = ["a", "c"].map(|name| Rejection::new(name, "no"));
    let held = before.settled(after, &Verdict::Partly(refused.to_vec()));
    assert_eq!(keys(&held), ["a", "b"]);
    assert_eq!(held.resources["a"].value, b"a".as_slice());
    assert_eq!(held.resources["b"].value, b"BB".as_slice());
    assert_eq!(held.version(), "1");
    let bytes: usize = held.resources.values().map(|r| r.size()).sum();
    assert_eq!(held.bytes, bytes);
}

#[test]
fn a_refusal_leaves_all_as_it_was_and_counts_as_an_answer() {
    let wanted = names(&["a"]);
    let before = Held::default()
        .expecting(&Interest::Nothing, &wanted)
        .unwrap();
    let (after, _) = accepted(
        &before,
        &update("1", vec![resource("a", "1", b"")]),
        &wanted,
    );
    let held = before.settled(after, &Verdict::Rejected(vec![]));
    assert!(held.resources.is_empty() && held.is_complete());
    assert_eq!(held.version(), "");
}

#[test]
fn more_than_there_may_be_is_refused() {
    let limits = ResourceLimits { count: 2, bytes: 8 };
    let refused = |update: &Update| {
        let result = two().after(update, &Interest::All, limits);
        result.map(|_| ()).unwrap_err().reason
    };
    let third = update("2", vec![resource("c", "2", b"")]);
    assert_eq!(refused(&third), "there would be 3, and 2 are allowed");
    let large = update("2", vec![resource("a", "2", b"12345")]);
    let expected = "all would have 10 bytes, and 8 are allowed";
    assert_eq!(refused(&large), expected);
}

#[test]
fn what_was_asked_for_while_a_judge_thought_is_still_awaited() {
    let before = Held::default();
    let before = before
        .expecting(&Interest::Nothing, &names(&["a"]))
        .unwrap();
    let first = update("1", vec![resource("a", "1", b"a")]);
    let (after, _) = accepted(&before, &first, &names(&["a"]));
    let now = before
        .expecting(&names(&["a"]), &names(&["a", "b"]))
        .unwrap();
    let held = after.among(&before, &now);
    assert_eq!(keys(&held), ["a"]);
    assert_eq!(held.awaited, BTreeSet::from(["b".into()]));
}
