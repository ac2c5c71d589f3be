//! The clock of guest calls: how a call that takes too long is ended.
//!
//! One thread, the watchdog, looks at all threads that run guests. A guest call
//! only leaves its number and its limit in the slot of its thread: it never reads
//! a clock. The watchdog measures from the moment it first sees the number, so
//! that a call is never ended early, and at most one tick late.
//!
//! What the watchdog does about a call that is overdue is to mark it. Four things
//! see the mark: the signal that is sent to the thread ([`signal`](super::signal)),
//! or else a global of the guest; host functions when they are called; and the
//! places where compiled code asks ([`polls`](super::polls)).

use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, compiler_fence,
};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::code::Code;
use super::module::Deadline;
use super::signal;
use crate::limits::BACKTRACE_FRAMES_MAX;

/// Longest and shortest pause between two looks of the watchdog.
const TICK_MAX: Duration = Duration::from_millis(2);
const TICK_MIN: Duration = Duration::from_micros(100);

/// Pause while a call is overdue: a signal that finds the thread outside of the
/// guest's code is of no use, and another one follows.
const TICK_OVERDUE: Duration = Duration::from_micros(50);

/// A limit is looked at so many times while it passes.
const TICKS_A_LIMIT: u32 = 8;

/// Looks that see no call before the watchdog sleeps until there is one.
const IDLE_TICKS: u32 = 64;

/// A call that has not had a quarter of its time on a processor is not stuck: the
/// system has not let it run. Then it gets up to ten times its limit.
const STARVED_PART: u32 = 4;
const STARVED_LIMITS: u32 = 10;

/// What a thread shows of the guest call that it is in.
pub(super) struct Slot {
    pub(super) thread: signal::ThreadId,
    /// Number of the call under way; 0 for none. No number comes twice.
    call: AtomicU64,
    /// Its limit in nanoseconds.
    limit: AtomicU64,
    /// Number of the call whose time is over.
    overdue: AtomicU64,
    /// Whether a signal may end it.
    by_signal: AtomicBool,
    /// Or else the guest's global that does; null when there is none.
    over: AtomicPtr<AtomicU32>,
    /// The watchdog may be writing there.
    marking: AtomicBool,
    /// Where the machine code of its module is. Points to a live value as long as
    /// the call lasts; read by the thread itself only.
    code: AtomicPtr<Code>,
    /// Where the guest was when it was interrupted: innermost first.
    pub(super) trace: [AtomicUsize; BACKTRACE_FRAMES_MAX],
    pub(super) trace_len: AtomicUsize,
}

impl Slot {
    /// Whether the call under way has taken too long.
    pub(super) fn is_overdue(&self) -> bool {
        let call = self.call.load(Ordering::Relaxed);
        call != 0 && self.overdue.load(Ordering::Relaxed) == call
    }

    /// Where the machine code of the call under way is.
    pub(super) fn code(&self) -> *const Code {
        self.code.load(Ordering::Relaxed)
    }

    /// Tells the guest, in its global, that its time is over, if it is still in this
    /// call.
    fn mark(&self, call: u64) {
        self.marking.store(true, Ordering::SeqCst);
        // The thread does not leave the call before it has seen that nobody is
        // writing: so it is this call that is told, and the global is there.
        if self.call.load(Ordering::SeqCst) == call {
            // SAFETY: it is that of an instance that is being called.
            #[allow(unsafe_code)]
            if let Some(over) = unsafe { self.over.load(Ordering::SeqCst).as_ref() } {
                over.store(1, Ordering::Relaxed);
            }
        }
        self.marking.store(false, Ordering::SeqCst);
    }

    /// Leaves the call, and takes the guest's global away from the watchdog.
    fn unmark(&self) {
        self.call.store(0, Ordering::SeqCst);
        self.over.store(ptr::null_mut(), Ordering::SeqCst);
        while self.marking.load(Ordering::SeqCst) {
            std::hint::spin_loop();
        }
    }

    fn take_trace(&self) -> Vec<usize> {
        let len = self.trace_len.swap(0, Ordering::Relaxed);
        let trace = self.trace.iter().take(len);
        trace.map(|pc| pc.load(Ordering::Relaxed)).collect()
    }
}

thread_local! {
    /// The slot of this thread, for the signal handler too: constant and without
    /// a destructor, so that reading it runs no code.
    static SLOT: Cell<*const Slot> = const { Cell::new(ptr::null()) };
    /// Keeps the slot as long as the thread lives.
    static REGISTRATION: Cell<Option<Registration>> = const { Cell::new(None) };
    /// Number of the last call of this thread.
    static LAST_CALL: Cell<u64> = const { Cell::new(0) };
    /// The call under way was ended, or told to end.
    static ENDED: Cell<bool> = const { Cell::new(false) };
    /// The call under way asked for memory that it did not get.
    static OUT_OF_MEMORY: Cell<bool> = const { Cell::new(false) };
}

/// The slot of this thread, if it has one.
pub(super) fn slot() -> *const Slot {
    SLOT.get()
}

/// What is known of a guest call when it has ended.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Its time was over. If it was ended, it was for that.
    pub(super) overdue: bool,
    /// It asked for memory that it did not get.
    pub(super) out_of_memory: bool,
    /// Where it was interrupted, if it was: addresses in the machine code.
    pub(super) trace: Vec<usize>,
}

/// A guest's global that says whether its time is over. Valid as long as its
/// instance lives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Over(pub(super) NonNull<AtomicU32>);

/// The instance that is being made by the call under way has such a global.
pub(super) fn made(over: Over) {
    // SAFETY: a slot lives as long as its thread has it.
    #[allow(unsafe_code)]
    if let Some(slot) = unsafe { SLOT.get().as_ref() } {
        slot.over.store(over.0.as_ptr(), Ordering::SeqCst);
    }
}

/// Runs `call`, a call into a guest whose machine code is `code`, and whose global
/// `over` is. After `limit`, it is ended by a trap. What ran in between may have
/// been torn in the middle: the instance is of no use any more then.
///
/// # Errors
/// Those of `call`, and what is known of it besides.
#[inline]
pub(super) fn run<R, E>(
    limit: Duration,
    code: &Code,
    over: Option<Over>,
    call: impl FnOnce() -> Result<R, E>,
) -> Result<R, (E, Verdict)> {
    let slot = slot_of_this_thread();
    // SAFETY: a slot lives as long as its thread has it.
    #[allow(unsafe_code)]
    let Some(slot) = (unsafe { slot.as_ref() }) else {
        // The thread is ending, and has let go of its slot.
        return call().map_err(|error| (error, Verdict::default()));
    };
    let number = LAST_CALL.get() + 1;
    LAST_CALL.set(number);
    // A call from within a call of another VM: the outer one goes on afterwards.
    let within_another = slot.call.load(Ordering::Relaxed) != 0;
    let outer = within_another.then(|| Interrupted::leave(slot));
    ENDED.set(false);
    OUT_OF_MEMORY.set(false);
    let nanos = match code.deadline {
        Deadline::Off => u64::MAX,
        Deadline::Watchdog | Deadline::Counter => {
            u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX)
        }
    };
    slot.limit.store(nanos, Ordering::Relaxed);
    slot.code
        .store(ptr::from_ref(code).cast_mut(), Ordering::Relaxed);
    let counts = code.deadline == Deadline::Counter;
    let by_signal = code.deadline == Deadline::Watchdog;
    slot.by_signal.store(by_signal, Ordering::Relaxed);
    if let Some(over) = over {
        // SAFETY: the instance lives: it is being called.
        #[allow(unsafe_code)]
        unsafe { over.0.as_ref() }.store(0, Ordering::Relaxed);
        slot.over.store(over.0.as_ptr(), Ordering::Relaxed);
    }
    slot.call.store(number, Ordering::Release);
    if !AWAKE.load(Ordering::Relaxed) {
        wake();
    }
    compiler_fence(Ordering::SeqCst);
    let result = call();
    compiler_fence(Ordering::SeqCst);
    let counted_out = counts && slot.is_overdue();
    slot.call.store(0, Ordering::Relaxed);
    if counts {
        slot.unmark();
    }
    compiler_fence(Ordering::SeqCst);
    let result = result.map_err(|error| {
        let trace = slot.take_trace();
        let verdict = Verdict {
            overdue: ENDED.get() || counted_out || !trace.is_empty(),
            out_of_memory: OUT_OF_MEMORY.get(),
            trace,
        };
        (error, verdict)
    });
    match outer {
        Some(outer) => outer.enter(slot),
        None => {
            slot.limit.store(u64::MAX, Ordering::Relaxed);
            slot.code.store(ptr::null_mut(), Ordering::Relaxed);
            slot.over.store(ptr::null_mut(), Ordering::Relaxed);
        }
    }
    result
}

/// A call within which another one is made.
struct Interrupted {
    call: u64,
    limit: u64,
    code: *mut Code,
    by_signal: bool,
    over: *mut AtomicU32,
    ended: bool,
    out_of_memory: bool,
}

impl Interrupted {
    /// Leaves the call that `slot` shows.
    fn leave(slot: &Slot) -> Self {
        let call = Self {
            call: slot.call.load(Ordering::Relaxed),
            limit: slot.limit.load(Ordering::Relaxed),
            code: slot.code.load(Ordering::Relaxed),
            by_signal: slot.by_signal.load(Ordering::Relaxed),
            over: slot.over.load(Ordering::Relaxed),
            ended: ENDED.get(),
            out_of_memory: OUT_OF_MEMORY.get(),
        };
        // The watchdog must not take what follows for this one's.
        slot.unmark();
        call
    }

    /// Has `slot` show it again.
    fn enter(self, slot: &Slot) {
        ENDED.set(self.ended);
        OUT_OF_MEMORY.set(self.out_of_memory);
        slot.limit.store(self.limit, Ordering::Relaxed);
        slot.code.store(self.code, Ordering::Relaxed);
        slot.by_signal.store(self.by_signal, Ordering::Relaxed);
        slot.over.store(self.over, Ordering::Relaxed);
        slot.call.store(self.call, Ordering::Release);
    }
}

/// The call under way has returned, and another one begins in the same entry into the
/// engine, with the same limit. Not for guests that count.
pub(super) fn next() {
    // SAFETY: a slot lives as long as its thread has it.
    #[allow(unsafe_code)]
    if let Some(slot) = unsafe { SLOT.get().as_ref() } {
        let number = LAST_CALL.get() + 1;
        LAST_CALL.set(number);
        OUT_OF_MEMORY.set(false);
        slot.call.store(number, Ordering::Release);
    }
}

/// Whether the call under way on this thread must end: its time is over. Who asks
/// must see to it.
pub(super) fn must_end() -> bool {
    // SAFETY: a slot lives as long as its thread has it.
    #[allow(unsafe_code)]
    let overdue = unsafe { SLOT.get().as_ref() }.is_some_and(Slot::is_overdue);
    if overdue {
        ENDED.set(true);
    }
    overdue
}

/// The call under way asked for memory and did not get it.
pub(super) fn out_of_memory() {
    OUT_OF_MEMORY.set(true);
}

fn slot_of_this_thread() -> *const Slot {
    let slot = SLOT.get();
    if slot.is_null() { register() } else { slot }
}

/// A thread's place among those that are watched.
struct Registration(Arc<Slot>);

impl Drop for Registration {
    fn drop(&mut self) {
        SLOT.set(ptr::null());
        // The watchdog holds the lock while it sends a signal, so that no thread
        // gets one after its end.
        watched().retain(|w| !Arc::ptr_eq(&w.slot, &self.0));
    }
}

#[cold]
fn register() -> *const Slot {
    let slot = Arc::new(Slot {
        thread: signal::this_thread(),
        call: AtomicU64::new(0),
        limit: AtomicU64::new(u64::MAX),
        overdue: AtomicU64::new(0),
        by_signal: AtomicBool::new(false),
        over: AtomicPtr::new(ptr::null_mut()),
        marking: AtomicBool::new(false),
        code: AtomicPtr::new(ptr::null_mut()),
        trace: [const { AtomicUsize::new(0) }; BACKTRACE_FRAMES_MAX],
        trace_len: AtomicUsize::new(0),
    });
    let registration = Registration(Arc::clone(&slot));
    if REGISTRATION
        .try_with(|r| r.set(Some(registration)))
        .is_err()
    {
        return ptr::null();
    }
    SLOT.set(Arc::as_ptr(&slot));
    watched().push(Watched {
        slot: Arc::clone(&slot),
        call: 0,
        since: Instant::now(),
        processor_time: None,
    });
    watchdog();
    signal::receive();
    Arc::as_ptr(&slot)
}

/// Whether the watchdog looks at the slots regularly.
static AWAKE: AtomicBool = AtomicBool::new(false);

static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());

fn watched() -> MutexGuard<'static, Vec<Watched>> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the thread that ends calls which take too long; it would start with the first
/// guest that runs. A process that runs guests on threads of low priority starts it
/// before, on another: what it inherits from the one that starts it, it keeps.
pub fn start_watchdog() {
    watchdog();
}

/// The thread that watches; begins with the first thread that runs a guest.
fn watchdog() -> Option<&'static Thread> {
    static WATCHDOG: OnceLock<Option<Thread>> = OnceLock::new();
    let start = || {
        signal::install();
        let name = "weir-watchdog".to_owned();
        let thread = thread::Builder::new().name(name).spawn(watch).ok()?;
        Some(thread.thread().clone())
    };
    WATCHDOG.get_or_init(start).as_ref()
}

#[cold]
fn wake() {
    AWAKE.store(true, Ordering::Relaxed);
    if let Some(thread) = watchdog() {
        thread.unpark();
    }
}

fn watch() {
    let mut idle = 0;
    loop {
        let look = look();
        idle = if look.any { 0 } else { idle + 1 };
        if idle < IDLE_TICKS {
            thread::sleep(look.pause);
            continue;
        }
        // Who begins a call from here on wakes this thread. A call that has begun
        // just before is seen by the look that follows.
        AWAKE.store(false, Ordering::SeqCst);
        thread::sleep(look.pause);
        if !self::look().any {
            while !AWAKE.load(Ordering::SeqCst) {
                thread::park();
            }
        }
        AWAKE.store(true, Ordering::SeqCst);
        idle = 0;
    }
}

/// What the watchdog has seen of all threads.
struct Look {
    /// Some are in a guest call.
    any: bool,
    /// Until the next one.
    pause: Duration,
}

fn look() -> Look {
    let now = Instant::now();
    let (mut any, mut overdue) = (false, false);
    let mut pause = TICK_MAX;
    for watched in &mut *watched() {
        let limit = watched.slot.limit.load(Ordering::Relaxed);
        let part = Duration::from_nanos(limit) / TICKS_A_LIMIT;
        pause = pause.min(part.max(TICK_MIN));
        match watched.look(now) {
            Seen::Nothing => {}
            Seen::InTime => any = true,
            Seen::Overdue => {
                any = true;
                overdue = true;
                if watched.slot.by_signal.load(Ordering::Relaxed) {
                    signal::send(watched.slot.thread);
                } else {
                    watched.slot.mark(watched.call);
                }
            }
        }
    }
    if overdue {
        pause = TICK_OVERDUE;
    }
    Look { any, pause }
}

/// A thread as the watchdog knows it.
struct Watched {
    slot: Arc<Slot>,
    /// The call that it was last seen in.
    call: u64,
    /// When it was first seen there.
    since: Instant,
    /// Time that the thread had had on a processor by then.
    processor_time: Option<Duration>,
}

enum Seen {
    Nothing,
    InTime,
    Overdue,
}

impl Watched {
    fn look(&mut self, now: Instant) -> Seen {
        let call = self.slot.call.load(Ordering::Acquire);
        if call == 0 {
            return Seen::Nothing;
        }
        if call != self.call {
            self.call = call;
            self.since = now;
            self.processor_time = signal::processor_time(self.slot.thread);
            return Seen::InTime;
        }
        let limit = Duration::from_nanos(self.slot.limit.load(Ordering::Relaxed));
        let passed = now.saturating_duration_since(self.since);
        if passed < limit || self.is_starved(limit, passed) {
            return Seen::InTime;
        }
        // The limit may be that of another call: then this one has ended, or waits.
        if self.slot.call.load(Ordering::Acquire) == call {
            self.slot.overdue.store(call, Ordering::Release);
        }
        Seen::Overdue
    }

    fn is_starved(&self, limit: Duration, passed: Duration) -> bool {
        let now = signal::processor_time(self.slot.thread);
        let had = now.zip(self.processor_time).map(|(now, then)| now - then);
        had.is_some_and(|had| had < limit / STARVED_PART)
            && passed < limit.saturating_mul(STARVED_LIMITS)
    }
}
