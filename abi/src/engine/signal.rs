//! The signal that ends a guest call: it finds a guest in the middle of its
//! code, which has no checks for that, and makes it trap there.
//!
//! The handler acts only when the interrupted instruction is one of the guest's
//! own: there nothing of the host is held or half done, and a trap is what the
//! engine expects of such code. Anywhere else it returns, and the watchdog sends
//! another signal. On targets other than `x86-64` Linux none is sent: there, guests
//! are compiled with a counter.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(super) use linux::{ThreadId, install, processor_time, receive, send, this_thread};

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub(super) use elsewhere::{ThreadId, install, processor_time, receive, send, this_thread};

/// Whether guests can be interrupted by a signal on this target.
pub(super) const AVAILABLE: bool = cfg!(all(target_os = "linux", target_arch = "x86_64"));

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[allow(unsafe_code)]
mod linux {
    use std::arch::global_asm;
    use std::mem::{self, MaybeUninit};
    use std::ptr;
    use std::sync::atomic::{AtomicI32, Ordering};
    use std::time::Duration;

    use libc::{c_int, c_void, siginfo_t, ucontext_t};

    use crate::engine::clock::{self, Slot};
    use crate::limits::BACKTRACE_FRAMES_MAX;

    // Where an interrupted guest goes on: the instruction with which the engine
    // marks `unreachable` (`ud1` with the trap code 9). Nothing is to be unwound
    // from here: the frames of the guest need not be whole.
    global_asm!(
        ".globl weir_guest_interrupted",
        "weir_guest_interrupted:",
        ".cfi_startproc",
        ".cfi_undefined rip",
        ".byte 0x0f, 0xb9, 0xc9",
        ".cfi_endproc",
    );

    unsafe extern "C" {
        fn weir_guest_interrupted();
    }

    /// A thread, and the clock of its time on a processor.
    #[derive(Clone, Copy)]
    pub(in crate::engine) struct ThreadId {
        thread: libc::pthread_t,
        clock: Option<libc::clockid_t>,
    }

    pub(in crate::engine) fn this_thread() -> ThreadId {
        // SAFETY: it has no preconditions.
        let thread = unsafe { libc::pthread_self() };
        let mut clock = MaybeUninit::uninit();
        // SAFETY: the thread is alive: it is this one.
        let found = unsafe { libc::pthread_getcpuclockid(thread, clock.as_mut_ptr()) } == 0;
        ThreadId {
            thread,
            // SAFETY: it was written.
            clock: found.then(|| unsafe { clock.assume_init() }),
        }
    }

    /// Time that a live thread has had on a processor.
    pub(in crate::engine) fn processor_time(id: ThreadId) -> Option<Duration> {
        let mut time = MaybeUninit::<libc::timespec>::uninit();
        // SAFETY: the thread is alive, as the lock on the list of threads is held.
        let read = unsafe { libc::clock_gettime(id.clock?, time.as_mut_ptr()) } == 0;
        // SAFETY: it was written.
        let time = read.then(|| unsafe { time.assume_init() })?;
        let seconds = u64::try_from(time.tv_sec).ok()?;
        Some(Duration::new(seconds, u32::try_from(time.tv_nsec).ok()?))
    }

    /// The signal that is used; 0 before there is one.
    static SIGNAL: AtomicI32 = AtomicI32::new(0);

    /// Real-time signals below this one are used by C libraries.
    const FIRST_OFFSET: c_int = 3;

    /// Takes a real-time signal that nobody else handles.
    pub(in crate::engine) fn install() {
        let signals = libc::SIGRTMIN() + FIRST_OFFSET..=libc::SIGRTMAX();
        for signal in signals {
            let mut current = MaybeUninit::<libc::sigaction>::zeroed();
            // SAFETY: it only asks.
            let known = unsafe { libc::sigaction(signal, ptr::null(), current.as_mut_ptr()) } == 0;
            // SAFETY: zeroed or written.
            let current = unsafe { current.assume_init() };
            if !known || current.sa_sigaction != libc::SIG_DFL {
                continue;
            }
            // SAFETY: zeroes are a valid value.
            let mut action: libc::sigaction = unsafe { mem::zeroed() };
            // On the alternate stack: the guest's own may be nearly full.
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
            action.sa_sigaction = on_signal as *const () as usize;
            // SAFETY: the handler stays within what handlers may do.
            let installed = unsafe {
                libc::sigemptyset(&raw mut action.sa_mask);
                libc::sigaction(signal, &raw const action, ptr::null_mut()) == 0
            };
            if installed {
                SIGNAL.store(signal, Ordering::Relaxed);
                return;
            }
        }
    }

    /// Has this thread get the signal, whatever mask it has inherited.
    pub(in crate::engine) fn receive() {
        let signal = SIGNAL.load(Ordering::Relaxed);
        if signal != 0 {
            let mut set = MaybeUninit::<libc::sigset_t>::uninit();
            // SAFETY: the set is emptied before it is used.
            unsafe {
                libc::sigemptyset(set.as_mut_ptr());
                libc::sigaddset(set.as_mut_ptr(), signal);
                libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), ptr::null_mut());
            }
        }
    }

    /// Sends the signal to a live thread.
    pub(in crate::engine) fn send(id: ThreadId) {
        let signal = SIGNAL.load(Ordering::Relaxed);
        if signal != 0 {
            // SAFETY: the thread is alive, as the lock on the list of threads is
            // held.
            unsafe { libc::pthread_kill(id.thread, signal) };
        }
    }

    extern "C" fn on_signal(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
        // SAFETY: the slot is that of this thread, which lives; the kernel hands
        // over a valid context.
        unsafe {
            if let Some(slot) = clock::slot().as_ref()
                && slot.is_overdue()
            {
                interrupt(slot, &mut *context.cast());
            }
        }
    }

    /// How a function makes a frame: `push rbp; mov rbp, rsp`.
    const ENTRY: [u8; 4] = [0x55, 0x48, 0x89, 0xe5];

    /// Bytes of `push rbp`.
    const PUSH: usize = 1;

    /// `ret`.
    const RETURN: u8 = 0xc3;

    /// Makes the guest trap where it is, if it is in its own code. Runs in a
    /// signal handler: no lock, no allocation.
    unsafe fn interrupt(slot: &Slot, context: &mut ucontext_t) {
        // SAFETY: it outlives the call that is under way.
        let Some(code) = (unsafe { slot.code().as_ref() }) else {
            return;
        };
        let registers = &mut context.uc_mcontext.gregs;
        let (rip, rsp) = (libc::REG_RIP as usize, libc::REG_RSP as usize);
        let mut pc = registers[rip] as usize;
        let Some(function) = code.function_of(pc) else {
            return;
        };
        let mut depth = 0;
        let mut tell = |pc: usize| {
            slot.trace[depth].store(pc, Ordering::Relaxed);
            depth += 1;
            depth
        };
        // SAFETY: the first bytes of a function.
        let begins: [u8; ENTRY.len()] = unsafe { (function as *const [u8; ENTRY.len()]).read() };
        // SAFETY: it is about to be executed.
        let returns = unsafe { (pc as *const u8).read() } == RETURN;
        let has_pushed = begins == ENTRY && pc == function + PUSH;
        // Without a frame of its own, as yet, any more or at all, a function has left its
        // caller's in rbp: the return address is on top of the stack, or below what it has
        // just pushed.
        if begins != ENTRY || pc == function || has_pushed || returns {
            tell(pc);
            let top = registers[rsp] as *const usize;
            // SAFETY: the call has just written it there. With a frame, the top of the
            // stack may not have been touched yet, and be on the guard page.
            let return_address = unsafe { top.add(usize::from(has_pushed)).read() };
            pc = return_address.wrapping_sub(1);
        }
        // The compiler keeps rbp for frame pointers. Each frame that returns into
        // the guest's code was made by it.
        let mut frame = registers[libc::REG_RBP as usize] as usize;
        while code.contains(pc) && tell(pc) < BACKTRACE_FRAMES_MAX {
            if frame == 0 || !frame.is_multiple_of(mem::align_of::<usize>()) {
                break;
            }
            let at = frame as *const usize;
            // SAFETY: the frame pointer of code that the compiler made: it keeps
            // the caller's frame pointer there, and the return address behind it.
            let (caller, return_address) = unsafe { (at.read(), at.add(1).read()) };
            // As the engine does: the call, and not what comes after it.
            pc = return_address.wrapping_sub(1);
            if caller <= frame {
                break;
            }
            frame = caller;
        }
        slot.trace_len.store(depth, Ordering::Relaxed);
        registers[rip] = weir_guest_interrupted as *const () as i64;
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod elsewhere {
    use std::time::Duration;

    /// No thread is sent a signal.
    #[derive(Clone, Copy)]
    pub(in crate::engine) struct ThreadId;

    pub(in crate::engine) fn this_thread() -> ThreadId {
        ThreadId
    }

    pub(in crate::engine) fn processor_time(_: ThreadId) -> Option<Duration> {
        None
    }

    pub(in crate::engine) fn install() {}

    pub(in crate::engine) fn receive() {}

    pub(in crate::engine) fn send(_: ThreadId) {}
}
