//! [`Script`]: what the guest is to do, as the numbers that it asks for.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::LazyLock;

use weir_abi::{HostcallType, wire};
use weir_stress::Random;

use crate::guest::{ALLOCATOR_MODES, ALLOCATOR_TRAPS, PAGES};

/// Hostcalls of one callback, at most.
const CALLS: usize = 24;
/// Of the allocator.
const NESTED: usize = 3;

const PAGE: u32 = 65_536;

/// What lies ready in the guest's memory, and where.
pub(crate) fn blobs() -> &'static [(u32, Vec<u8>)] {
    &BLOBS
}

static BLOBS: LazyLock<Vec<(u32, Vec<u8>)>> = LazyLock::new(|| {
    let map = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(k, v)| (k.as_bytes(), v.as_bytes()));
        let mut bytes = vec![0; wire::pairs_size(pairs.clone())];
        wire::encode_pairs(pairs, &mut bytes);
        bytes
    };
    let many = 10_000_000_u32.to_le_bytes();
    let mut blobs = vec![
        b"web".to_vec(),
        b"accept".to_vec(),
        b"Host".to_vec(),
        b":path".to_vec(),
        map(&[
            (":method", "POST"),
            (":path", "/"),
            (":authority", "a"),
            ("x", "y"),
        ]),
        map(&[("", "")]),
        [&many[..], &[1; 4096]].concat(),
        [&1024_u32.to_le_bytes()[..], &[0xff; 8192]].concat(),
        // A `GrpcService`: `envoy_grpc { cluster_name: "web" }`.
        b"\x0a\x05\x0a\x03web".to_vec(),
        // The same with a length that lies, and one nested without end.
        b"\x0a\x7f\x0a\x03web".to_vec(),
        b"\x0a\xfe\x01".repeat(100),
        b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01".to_vec(),
    ];
    for property in [
        "request\0path",
        "request\0headers\0x",
        "request",
        "response\0trailers",
        "plugin_name",
        "source\0address\0",
        "metadata\0filter_metadata\0a\0b\0c",
        "a key of one's own",
    ] {
        blobs.push(property.into());
    }
    // Addresses and lengths, for scatter-gather.
    blobs.push(
        [1024_u32.to_le_bytes(), 64_u32.to_le_bytes()]
            .concat()
            .repeat(64),
    );
    blobs.push(
        [0_u32.to_le_bytes(), (16 * PAGE).to_le_bytes()]
            .concat()
            .repeat(1024),
    );
    let mut address = 1024;
    blobs
        .into_iter()
        .map(|bytes| {
            let at = address;
            address += (bytes.len() as u32).next_multiple_of(16) + 16;
            (at, bytes)
        })
        .collect()
});

/// Hands out the numbers that the guest asks for.
pub(crate) struct Script {
    hostcalls: Rc<[HostcallType]>,
    random: RefCell<Random>,
    /// The callbacks' numbers and the allocator's.
    waiting: [RefCell<VecDeque<u64>>; 2],
    /// Hostcalls that are left, likewise.
    left: [Cell<usize>; 2],
    /// Callouts under way.
    pub(crate) tokens: RefCell<BTreeSet<u32>>,
    /// Lookups under way.
    pub(crate) lookups: RefCell<BTreeSet<u32>>,
    /// The guest was told to trap, or to leave, or to do what ends it.
    pub(crate) may_fail: Cell<bool>,
    calls: Rc<Cell<u64>>,
    /// The hostcall under way, for the report.
    pub(crate) last: RefCell<String>,
}

impl Script {
    pub(crate) fn new(hostcalls: Rc<[HostcallType]>, random: Random, calls: Rc<Cell<u64>>) -> Self {
        Self {
            hostcalls,
            random: RefCell::new(random),
            waiting: Default::default(),
            left: Default::default(),
            tokens: RefCell::default(),
            lookups: RefCell::default(),
            may_fail: Cell::new(false),
            calls,
            last: RefCell::default(),
        }
    }

    /// For a guest that asks for nothing.
    pub(crate) fn silent() -> Self {
        Self::new(Rc::new([]), Random::new(0, 0), Rc::default())
    }

    /// A callback begins.
    pub(crate) fn begin(&self) {
        self.waiting.iter().for_each(|w| w.borrow_mut().clear());
        let calls = self.random.borrow_mut().below(CALLS);
        self.left[0].set(calls);
        self.left[1].set(0);
    }

    /// The next number of the callbacks (0) or of the allocator (1).
    pub(crate) fn next(&self, of: usize) -> u64 {
        if self.waiting[of].borrow().is_empty() {
            self.refill(of);
        }
        self.waiting[of].borrow_mut().pop_front().unwrap_or(0)
    }

    fn refill(&self, of: usize) {
        let random = &mut *self.random.borrow_mut();
        let numbers = &mut *self.waiting[of].borrow_mut();
        if of == 1 && self.left[1].get() == 0 {
            // The allocator begins.
            let mode = if random.percent(60) {
                0
            } else {
                random.next() % ALLOCATOR_MODES
            };
            // Seldom, or no guest lives long.
            let mode = if mode == ALLOCATOR_TRAPS && random.percent(80) {
                0
            } else {
                mode
            };
            numbers.push_back(mode);
            match mode {
                2 => numbers.push_back(hostile(random)),
                ALLOCATOR_TRAPS => self.may_fail.set(true),
                5 => self.left[1].set(1 + random.below(NESTED)),
                _ => {}
            }
            return;
        }
        let left = self.left[of].get();
        self.left[of].set(left.saturating_sub(1));
        if left <= usize::from(of == 1) {
            numbers.push_back(u64::from(u32::MAX));
            if of == 0 {
                numbers.push_back(random.next() % 6);
            }
            return;
        }
        let (n, hostcall) = loop {
            let n = random.below(self.hostcalls.len());
            let hostcall = &self.hostcalls[n];
            // Ends the guest, so that little can follow.
            if hostcall.name != "proc_exit" || random.percent(2) {
                break (n, hostcall);
            }
        };
        let begins = numbers.len();
        numbers.push_back(n as u64);
        while numbers.len() - begins <= hostcall.parameters.len() {
            let room = hostcall.parameters.len() - (numbers.len() - begins - 1);
            self.argument(random, room, numbers);
        }
        self.calls.set(self.calls.get() + 1);
        let arguments: Vec<u64> = numbers.iter().copied().skip(begins + 1).collect();
        *self.last.borrow_mut() = format!("{}{arguments:?}", hostcall.name);
        let ends = hostcall.name == "proc_exit" || (of == 1 && hostcall.namespace == "env");
        self.may_fail.set(self.may_fail.get() || ends);
        // The two that ask for a number themselves.
        match hostcall.name {
            "proxy_get_current_time_nanoseconds" => numbers.push_back(0),
            "clock_time_get" => match arguments.first().map(|n| *n as u32) {
                Some(clock @ 0..2) if clock as usize == of => numbers.push_back(0),
                Some(clock @ 0..2) => self.waiting[clock as usize].borrow_mut().push_front(0),
                _ => {}
            },
            _ => {}
        }
    }

    /// One argument, or two that belong together.
    fn argument(&self, random: &mut Random, room: usize, numbers: &mut VecDeque<u64>) {
        let number = match random.below(10) {
            0..4 if room > 1 => {
                let (address, length) = range(random);
                numbers.extend([address, length]);
                return;
            }
            0..6 => random.next() % 12,
            6 => {
                let tokens = self.tokens.borrow();
                let at = random.below(tokens.len());
                tokens.iter().nth(at).copied().unwrap_or(4).into()
            }
            7 => u64::from(1024 + random.next() as u32 % (30 * PAGE)),
            8 => hostile(random),
            _ => random.next(),
        };
        numbers.push_back(number);
    }
}

/// An address and a length: something that lies there, in whole or in part, or
/// something that does not.
fn range(random: &mut Random) -> (u64, u64) {
    let (address, bytes) = &BLOBS[random.below(BLOBS.len())];
    let (address, length) = (u64::from(*address), bytes.len() as u64);
    match random.below(8) {
        0 => (address, random.next() % (length + 1)),
        1 => (address, hostile(random)),
        2 => (hostile(random), length),
        // Nothing but zeroes: a property path of very many segments.
        3 => (u64::from(20 * PAGE), 1 << (random.next() % 21)),
        _ => (address, length),
    }
}

/// Numbers at which things break.
fn hostile(random: &mut Random) -> u64 {
    let near = random.next() % 17;
    let base = match random.below(8) {
        0 => 0,
        1 => u64::from(u32::MAX),
        2 => u64::from(PAGES.0) * u64::from(PAGE),
        3 => u64::from(PAGES.1) * u64::from(PAGE),
        4 => 1 << 31,
        5 => 1 << (random.next() % 32),
        6 => u64::MAX,
        _ => random.next(),
    };
    base.wrapping_add(near).wrapping_sub(8)
}
