use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::*;

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn set(space: &Space, key: &str, value: &str, cas: u32) -> Result<(), Status> {
    space.set(&text(key), &text(value), cas)
}

fn value(space: &Space, key: &str) -> Option<String> {
    let (value, _) = space.get(key.as_bytes())?;
    Some(String::from_utf8_lossy(&value).into_owned())
}

fn cas(space: &Space, key: &str) -> u32 {
    space.get(key.as_bytes()).unwrap().1
}

/// A space that holds so much data.
fn holding(bytes: usize, entries: usize, eviction: Eviction) -> Arc<Space> {
    let data = DataLimits {
        bytes,
        entries,
        eviction,
    };
    let limits = SharedLimits {
        data,
        ..SharedLimits::default()
    };
    Arc::<SharedState>::default().space("v", limits)
}

/// Counts what it is told, until it is gone.
#[derive(Default)]
struct Counting {
    told: AtomicUsize,
    gone: AtomicBool,
}

impl Counting {
    fn told(&self) -> usize {
        self.told.load(Ordering::Relaxed)
    }
}

impl QueueConsumer for Counting {
    fn ready(&self, _queue: u32) -> bool {
        if !self.is_gone() {
            self.told.fetch_add(1, Ordering::Relaxed);
        }
        !self.is_gone()
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }
}

#[test]
fn a_value_is_set_when_its_number_is_right_or_none_is_asked_for() {
    let space = Space::default();
    assert_eq!(value(&space, "k"), None);
    assert_eq!(set(&space, "k", "1", 0), Ok(()));
    let first = cas(&space, "k");
    assert_ne!(first, 0);
    assert_eq!(set(&space, "k", "2", first), Ok(()));
    assert_eq!(set(&space, "k", "3", first), Err(Status::CasMismatch));
    assert_eq!(value(&space, "k").unwrap(), "2");
    assert_eq!(set(&space, "k", "4", 0), Ok(()));
    assert_eq!(set(&space, "new", "x", 12345), Ok(()));
    assert_eq!(value(&space, "new").unwrap(), "x");
}

#[test]
fn numbers_skip_zero_after_a_wrap() {
    let last = AtomicU32::new(u32::MAX - 1);
    assert_eq!([next(&last), next(&last), next(&last)], [u32::MAX, 1, 2]);
}

#[test]
fn spaces_are_found_by_vm_id_and_dropped_with_their_last_holder() {
    let state = Arc::<SharedState>::default();
    let limits = SharedLimits::default();
    let one = state.space("one", limits);
    let again = state.space("one", limits);
    let two = state.space("two", limits);
    set(&one, "k", "v", 0).unwrap();
    assert_eq!(value(&again, "k").unwrap(), "v");
    assert_eq!(value(&two, "k"), None);
    let queue = one.register_queue(&text("q"), None).unwrap();
    assert_eq!(two.resolve_queue("one", b"q"), Some(queue));
    assert_eq!(two.enqueue(queue, text("item")), Ok(()));

    drop(one);
    assert_eq!(value(&again, "k").unwrap(), "v");
    drop(again);
    assert_eq!(two.resolve_queue("one", b"q"), None);
    assert_eq!(two.enqueue(queue, text("item")), Err(Status::NotFound));
    assert_eq!(two.dequeue(queue), Err(Status::NotFound));
    assert_eq!(state.stats().len(), 1);
    assert_eq!(value(&state.space("one", limits), "k"), None);
}

#[test]
fn of_many_threads_that_compare_and_swap_each_step_succeeds_once() {
    const THREADS: usize = 8;
    const EACH: usize = 500;
    let space = Space::default();
    set(&space, "n", "0", 0).unwrap();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..EACH {
                    loop {
                        let (value, cas) = space.get(b"n").unwrap();
                        let n: usize = std::str::from_utf8(&value).unwrap().parse().unwrap();
                        if set(&space, "n", &(n + 1).to_string(), cas).is_ok() {
                            break;
                        }
                    }
                }
            });
        }
    });
    assert_eq!(value(&space, "n").unwrap(), (THREADS * EACH).to_string());
}

#[test]
fn what_does_not_fit_is_refused_and_what_takes_no_more_room_is_not() {
    let space = holding(10, 3, Eviction::None);
    set(&space, "a", "1234", 0).unwrap();
    set(&space, "b", "1234", 0).unwrap();
    assert_eq!(set(&space, "c", "", 0), Err(Status::InternalFailure));
    assert_eq!(set(&space, "b", "12345", 0), Err(Status::InternalFailure));
    assert_eq!(value(&space, "b").unwrap(), "1234");
    set(&space, "a", "4321", 0).unwrap();
    set(&space, "a", "", 0).unwrap();
    set(&space, "c", "", 0).unwrap();
    assert_eq!(set(&space, "d", "", 0), Err(Status::InternalFailure));
    let stats = space.stats();
    assert_eq!((stats.data_bytes, stats.data_entries), (7, 3));
    assert_eq!((stats.data_refused, stats.data_evicted), (3, 0));
}

#[test]
fn lower_limits_leave_what_is_there() {
    let space = holding(100, 10, Eviction::None);
    set(&space, "a", "12345", 0).unwrap();
    space.set_limits(SharedLimits {
        data: DataLimits {
            bytes: 4,
            entries: 1,
            eviction: Eviction::None,
        },
        ..SharedLimits::default()
    });
    assert_eq!(value(&space, "a").unwrap(), "12345");
    assert_eq!(set(&space, "a", "1234", 0), Ok(()));
    assert_eq!(set(&space, "a", "12345", 0), Err(Status::InternalFailure));
}

#[test]
fn the_entry_that_was_used_least_recently_makes_room() {
    let space = holding(1000, 3, Eviction::Lru);
    for key in ["a", "b", "c"] {
        set(&space, key, "v", 0).unwrap();
    }
    assert!(value(&space, "a").is_some());
    set(&space, "d", "v", 0).unwrap();
    assert_eq!(value(&space, "b"), None);
    assert!(["a", "c", "d"].iter().all(|k| value(&space, k).is_some()));
    assert_eq!(space.stats().data_evicted, 1);
}

#[test]
fn the_entry_that_was_written_longest_ago_makes_room() {
    let space = holding(1000, 3, Eviction::Oldest);
    for key in ["a", "b", "c"] {
        set(&space, key, "v", 0).unwrap();
    }
    assert!(value(&space, "a").is_some());
    set(&space, "b", "w", 0).unwrap();
    set(&space, "d", "v", 0).unwrap();
    assert_eq!(value(&space, "a"), None);
    set(&space, "e", "v", 0).unwrap();
    assert_eq!(value(&space, "c"), None);
    assert_eq!(value(&space, "b").unwrap(), "w");
}

#[test]
fn as_many_entries_go_as_a_large_one_needs_and_none_for_one_that_never_fits() {
    let space = holding(20, 100, Eviction::Lru);
    for key in ["a", "b", "c", "d"] {
        set(&space, key, "1234", 0).unwrap();
    }
    let large = "x".repeat(20);
    assert_eq!(set(&space, "e", &large, 0), Err(Status::InternalFailure));
    assert_eq!(space.stats().data_entries, 4);
    set(&space, "e", "123456789", 0).unwrap();
    assert_eq!(value(&space, "a"), None);
    assert_eq!(value(&space, "b"), None);
    assert!(value(&space, "c").is_some());
    assert_eq!(space.stats().data_bytes, 20);
}

#[test]
fn limits_hold_while_many_threads_write() {
    for eviction in [Eviction::None, Eviction::Lru, Eviction::Oldest] {
        let space = holding(2_000, 50, eviction);
        thread::scope(|scope| {
            for thread in 0..4 {
                let space = &space;
                scope.spawn(move || {
                    for n in 0..2_000 {
                        let key = format!("{thread}-{}", n % 60);
                        let _ = set(space, &key, &"v".repeat(n % 40), 0);
                        let stats = space.stats();
                        assert!(stats.data_entries <= 50 && stats.data_bytes <= 2_000);
                    }
                });
            }
        });
        let found = (0..4).flat_map(|t| (0..60).map(move |n| format!("{t}-{n}")));
        let found: Vec<_> = found
            .filter_map(|key| Some(key.len() + value(&space, &key)?.len()))
            .collect();
        let stats = space.stats();
        assert_eq!(stats.data_entries, found.len(), "{eviction:?}");
        assert_eq!(stats.data_bytes, found.iter().sum::<usize>());
        assert_eq!(stats.data_evicted == 0, eviction == Eviction::None);
    }
}

#[test]
fn a_queue_gives_what_came_first_and_keeps_its_number() {
    let space = Space::default();
    let queue = space.register_queue(&text("q"), None).unwrap();
    assert_ne!(queue, 0);
    assert_eq!(space.dequeue(queue), Err(Status::Empty));
    for item in ["1", "", "2"] {
        space.enqueue(queue, text(item)).unwrap();
    }
    assert_eq!(space.register_queue(&text("q"), None), Ok(queue));
    assert_eq!(space.resolve_queue("", b"q"), Some(queue));
    assert_eq!(space.resolve_queue("", b"other"), None);
    assert_eq!(space.resolve_queue("other", b"q"), None);
    assert_eq!(space.dequeue(queue), Ok(text("1")));
    assert_eq!(space.dequeue(queue), Ok(text("")));
    assert_eq!(space.dequeue(queue), Ok(text("2")));
    assert_eq!(space.dequeue(queue), Err(Status::Empty));
    assert_eq!(space.dequeue(queue + 1), Err(Status::NotFound));
}

#[test]
fn queues_have_limits_of_items_bytes_and_number() {
    let queues = QueueLimits {
        bytes: 6,
        items: 2,
        queues: 2,
    };
    let limits = SharedLimits {
        queues,
        ..SharedLimits::default()
    };
    let space = Arc::<SharedState>::default().space("v", limits);
    let one = space.register_queue(&text("1"), None).unwrap();
    let two = space.register_queue(&text("2"), None).unwrap();
    let third = space.register_queue(&text("3"), None);
    assert_eq!(third, Err(Status::InternalFailure));
    assert_eq!(space.enqueue(one, text("1234")), Ok(()));
    let full = Err(Status::InternalFailure);
    assert_eq!(space.enqueue(one, text("567")), full);
    assert_eq!(space.enqueue(one, text("56")), Ok(()));
    assert_eq!(space.enqueue(one, text("")), full);
    assert_eq!(space.enqueue(two, text("123456")), Ok(()));
    let stats = space.stats();
    assert_eq!((stats.queues, stats.queue_items), (2, 3));
    assert_eq!((stats.queue_bytes, stats.queue_refused), (12, 3));
    space.dequeue(one).unwrap();
    assert_eq!(space.enqueue(one, text("")), Ok(()));
}

#[test]
fn the_last_consumer_is_told_and_the_one_before_when_it_is_gone() {
    let space = Space::default();
    let [first, second] = [(); 2].map(|()| Arc::<Counting>::default());
    let queue = space.register_queue(&text("q"), None).unwrap();
    for consumer in [&first, &second, &first, &second] {
        let consumer: Arc<dyn QueueConsumer> = Arc::<Counting>::clone(consumer);
        space.register_queue(&text("q"), Some(consumer)).unwrap();
    }
    // Whoever opens it without wanting to be told changes nothing.
    space.register_queue(&text("q"), None).unwrap();
    space.enqueue(queue, text("1")).unwrap();
    space.enqueue(queue, text("2")).unwrap();
    assert_eq!((first.told(), second.told()), (0, 2));
    second.gone.store(true, Ordering::Relaxed);
    space.enqueue(queue, text("3")).unwrap();
    assert_eq!((first.told(), second.told()), (1, 2));
    first.gone.store(true, Ordering::Relaxed);
    space.enqueue(queue, text("4")).unwrap();
    assert_eq!((first.told(), second.told()), (1, 2));
}

#[test]
fn a_consumer_is_told_of_items_that_came_when_there_was_none() {
    let space = Space::default();
    let register = || {
        let consumer = Arc::<Counting>::default();
        let told: Arc<dyn QueueConsumer> = Arc::<Counting>::clone(&consumer);
        (
            space.register_queue(&text("q"), Some(told)).unwrap(),
            consumer,
        )
    };
    let queue = space.register_queue(&text("q"), None).unwrap();
    for item in ["1", "2", "3"] {
        space.enqueue(queue, text(item)).unwrap();
    }
    space.dequeue(queue).unwrap();
    let (_, first) = register();
    assert_eq!(first.told(), 2);
    let (_, second) = register();
    assert_eq!(second.told(), 0);
    for gone in [first, second] {
        gone.gone.store(true, Ordering::Relaxed);
    }
    space.enqueue(queue, text("4")).unwrap();
    let (_, third) = register();
    assert_eq!(third.told(), 1);
}

#[test]
fn items_of_many_threads_all_arrive_once_and_are_told_once() {
    const THREADS: usize = 4;
    const EACH: usize = 1000;
    let space = Space::default();
    let consumer = Arc::<Counting>::default();
    let told: Arc<dyn QueueConsumer> = Arc::<Counting>::clone(&consumer);
    let queue = space.register_queue(&text("q"), Some(told)).unwrap();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let space = &space;
            scope.spawn(move || {
                for n in 0..EACH {
                    space
                        .enqueue(queue, text(&format!("{thread}-{n}")))
                        .unwrap();
                }
            });
        }
    });
    let items: std::collections::HashSet<_> =
        std::iter::from_fn(|| space.dequeue(queue).ok()).collect();
    assert_eq!(items.len(), THREADS * EACH);
    assert_eq!(consumer.told(), THREADS * EACH);
}
