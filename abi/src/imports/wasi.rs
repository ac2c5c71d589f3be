//! WASI preview 1, as far as a filter has a world: its environment variables,
//! clocks, random bytes and two log streams. No files, no sockets.
//!
//! Every function of preview 1 exists, so that any toolchain's module links;
//! what makes no sense here answers the errno that Envoy answers.

use super::{Cx, Table};
use crate::engine::HostTrap;
use crate::limits::{IOVECS_MAX, RANDOM_BYTES_MAX};
use crate::types::{LogLevel, Status};

type Errno = u32;

const SUCCESS: Errno = 0;
const BADF: Errno = 8;
const EXIST: Errno = 20;
const FAULT: Errno = 21;
const INVAL: Errno = 28;
const NOENT: Errno = 44;
const NOSYS: Errno = 52;
const NOTSUP: Errno = 58;

const STDOUT: u32 = 1;
const STDERR: u32 = 2;
/// Right to write; all that the two log streams have.
const RIGHTS_FD_WRITE: u64 = 1 << 6;

/// A parameter that does not matter.
type P = u32;
type L = u64;

pub(super) fn define(t: &mut Table) {
    t.wasi("args_get", |_: &mut Cx<'_>, _: P, _: P| SUCCESS);
    t.wasi("args_sizes_get", args_sizes_get);
    t.wasi("environ_get", environ_get);
    t.wasi("environ_sizes_get", environ_sizes_get);
    t.wasi("clock_res_get", clock_res_get);
    t.wasi("clock_time_get", clock_time_get);
    t.wasi("random_get", random_get);
    t.wasi("sched_yield", |_: &mut Cx<'_>| SUCCESS);
    // Go's runtime asks for this to succeed; nothing to wait for ever happens.
    t.wasi(
        "poll_oneoff",
        |c: &mut Cx<'_>, _: P, _: P, _: P, n_out: P| done(c.write_u32(n_out, 0)),
    );
    t.wasi("proc_exit", |_: &mut Cx<'_>, code: u32| {
        HostTrap::Exit(code)
    });
    t.wasi("proc_raise", |_: &mut Cx<'_>, _: P| NOSYS);

    t.wasi("fd_write", |c: &mut Cx<'_>, fd, iovs, n, n_out| {
        fd_write(c, fd, iovs, n, n_out)
    });
    t.wasi("fd_pwrite", |c: &mut Cx<'_>, fd, iovs, n, _: L, n_out| {
        fd_write(c, fd, iovs, n, n_out)
    });
    t.wasi("fd_read", |_: &mut Cx<'_>, _: P, _: P, _: P, _: P| NOSYS);
    t.wasi(
        "fd_pread",
        |_: &mut Cx<'_>, _: P, _: P, _: P, _: L, _: P| NOSYS,
    );
    t.wasi("fd_seek", |_: &mut Cx<'_>, _: P, _: L, _: P, _: P| SUCCESS);
    t.wasi("fd_tell", |c: &mut Cx<'_>, fd, offset_out| {
        if is_log(fd) {
            done(c.write(offset_out, &0u64.to_le_bytes()))
        } else {
            BADF
        }
    });
    t.wasi("fd_close", |_: &mut Cx<'_>, _: P| SUCCESS);
    t.wasi("fd_fdstat_get", fd_fdstat_get);
    t.wasi("fd_fdstat_set_flags", |_: &mut Cx<'_>, _: P, _: P| NOSYS);
    t.wasi("fd_fdstat_set_rights", |_: &mut Cx<'_>, fd, _: L, _: L| {
        log_only(fd)
    });
    t.wasi("fd_filestat_get", |_: &mut Cx<'_>, _: P, _: P| BADF);
    t.wasi("fd_filestat_set_size", |_: &mut Cx<'_>, fd, _: L| {
        log_only(fd)
    });
    t.wasi(
        "fd_filestat_set_times",
        |_: &mut Cx<'_>, fd, _: L, _: L, _: P| log_only(fd),
    );
    t.wasi("fd_advise", |_: &mut Cx<'_>, _: P, _: L, _: L, _: P| {
        SUCCESS
    });
    t.wasi("fd_allocate", |_: &mut Cx<'_>, fd, _: L, _: L| log_only(fd));
    t.wasi("fd_datasync", |_: &mut Cx<'_>, fd| log_only(fd));
    t.wasi("fd_sync", |_: &mut Cx<'_>, fd| log_only(fd));
    t.wasi("fd_prestat_get", |_: &mut Cx<'_>, _: P, _: P| BADF);
    t.wasi("fd_prestat_dir_name", |_: &mut Cx<'_>, _: P, _: P, _: P| {
        NOSYS
    });
    t.wasi(
        "fd_readdir",
        |c: &mut Cx<'_>, _: P, _: P, _: P, _: L, n_out| {
            c.write_u32(n_out, 0).map_or(FAULT, |()| EXIST)
        },
    );
    t.wasi("fd_renumber", |_: &mut Cx<'_>, from, to| {
        if is_log(from) && is_log(to) {
            NOTSUP
        } else {
            BADF
        }
    });

    t.wasi(
        "path_open",
        |_: &mut Cx<'_>, _: P, _: P, _: P, _: P, _: P, _: L, _: L, _: P, _: P| NOENT,
    );
    t.wasi(
        "path_filestat_get",
        |_: &mut Cx<'_>, _: P, _: P, _: P, _: P, _: P| NOTSUP,
    );
    t.wasi(
        "path_filestat_set_times",
        |_: &mut Cx<'_>, _: P, _: P, _: P, _: P, _: L, _: L, _: P| NOTSUP,
    );
    for name in [
        "path_create_directory",
        "path_remove_directory",
        "path_unlink_file",
    ] {
        t.wasi(name, |_: &mut Cx<'_>, _: P, _: P, _: P| NOTSUP);
    }
    t.wasi(
        "path_rename",
        |_: &mut Cx<'_>, _: P, _: P, _: P, _: P, _: P, _: P| NOTSUP,
    );
    t.wasi(
        "path_readlink",
        |c: &mut Cx<'_>, _: P, _: P, _: P, _: P, _: P, n_out: P| {
            c.write_u32(n_out, 0).map_or(FAULT, |()| NOTSUP)
        },
    );
    t.wasi(
        "path_link",
        |_: &mut Cx<'_>, _: P, _: P, _: P, _: P, _: P, _: P, _: P| NOTSUP,
    );
    t.wasi(
        "path_symlink",
        |_: &mut Cx<'_>, _: P, _: P, _: P, _: P, _: P| NOTSUP,
    );

    t.wasi("sock_accept", |c: &mut Cx<'_>, _: P, _: P, fd_out: P| {
        c.write_u32(fd_out, 0).map_or(FAULT, |()| NOTSUP)
    });
    t.wasi(
        "sock_recv",
        |c: &mut Cx<'_>, _: P, _: P, _: P, _: P, n_out: P, flags_out: P| {
            let zeroed = c
                .write_u32(n_out, 0)
                .and_then(|()| c.write(flags_out, &[0, 0]));
            zeroed.map_or(FAULT, |()| NOTSUP)
        },
    );
    t.wasi(
        "sock_send",
        |c: &mut Cx<'_>, _: P, _: P, _: P, _: P, n_out: P| {
            c.write_u32(n_out, 0).map_or(FAULT, |()| NOTSUP)
        },
    );
    t.wasi("sock_shutdown", |_: &mut Cx<'_>, _: P, _: P| NOTSUP);
}

fn done(result: Result<(), Status>) -> Errno {
    result.map_or(FAULT, |()| SUCCESS)
}

fn is_log(fd: u32) -> bool {
    matches!(fd, STDOUT | STDERR)
}

fn log_only(fd: u32) -> Errno {
    if is_log(fd) { SUCCESS } else { BADF }
}

fn args_sizes_get(c: &mut Cx<'_>, count_out: u32, size_out: u32) -> Errno {
    done(
        c.write_u32(count_out, 0)
            .and_then(|()| c.write_u32(size_out, 0)),
    )
}

/// Bytes of `key=value` and its NUL.
fn variable_size(variable: &(String, String)) -> usize {
    variable.0.len() + variable.1.len() + 2
}

fn environ_sizes_get(c: &mut Cx<'_>, count_out: u32, size_out: u32) -> Errno {
    let state = c.state().clone();
    let variables = &state.config.environment;
    let size: usize = variables.iter().map(variable_size).sum();
    let (Ok(count), Ok(size)) = (u32::try_from(variables.len()), u32::try_from(size)) else {
        return INVAL;
    };
    done(
        c.write_u32(count_out, count)
            .and_then(|()| c.write_u32(size_out, size)),
    )
}

/// Writes the address of every variable to `addresses_out`, and the variables
/// themselves, each with a NUL, to `text_out`.
fn environ_get(c: &mut Cx<'_>, mut addresses_out: u32, mut text_out: u32) -> Errno {
    let state = c.state().clone();
    for variable in &state.config.environment {
        let (key, value) = variable;
        let text = [key.as_bytes(), b"=", value.as_bytes(), b"\0"].concat();
        let written = c
            .write_u32(addresses_out, text_out)
            .and_then(|()| c.write(text_out, &text));
        if written.is_err() {
            return FAULT;
        }
        addresses_out = addresses_out.saturating_add(4);
        text_out = text_out.saturating_add(u32::try_from(text.len()).unwrap_or(u32::MAX));
    }
    SUCCESS
}

const CLOCK_REALTIME: u32 = 0;
const CLOCK_MONOTONIC: u32 = 1;

fn clock_res_get(c: &mut Cx<'_>, clock: u32, resolution_out: u32) -> Errno {
    match clock {
        CLOCK_REALTIME | CLOCK_MONOTONIC => done(c.write(resolution_out, &1u64.to_le_bytes())),
        _ => NOTSUP,
    }
}

fn clock_time_get(c: &mut Cx<'_>, clock: u32, _precision: u64, time_out: u32) -> Errno {
    let time = match clock {
        CLOCK_REALTIME => c.state().host.wall_clock(),
        CLOCK_MONOTONIC => c.state().host.monotonic_clock(),
        _ => return NOTSUP,
    };
    let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    done(c.write(time_out, &nanoseconds.to_le_bytes()))
}

fn random_get(c: &mut Cx<'_>, out: u32, length: u32) -> Errno {
    if length as usize > RANDOM_BYTES_MAX {
        return INVAL;
    }
    match c.slice(out, length) {
        Ok(block) => getrandom::fill(block).map_or(NOSYS, |()| SUCCESS),
        Err(_) => FAULT,
    }
}

fn fd_fdstat_get(c: &mut Cx<'_>, fd: u32, stat_out: u32) -> Errno {
    if !is_log(fd) {
        return BADF;
    }
    let mut stat = [0; 24];
    stat[8..16].copy_from_slice(&RIGHTS_FD_WRITE.to_le_bytes());
    done(c.write(stat_out, &stat))
}

/// One log line: info from standard output, error from standard error.
fn fd_write(c: &mut Cx<'_>, fd: u32, iovs: u32, count: u32, n_out: u32) -> Errno {
    let level = match fd {
        STDOUT => LogLevel::Info,
        STDERR => LogLevel::Error,
        _ => return BADF,
    };
    if count > IOVECS_MAX {
        return INVAL;
    }
    let Ok(line) = gather(c, iovs, count) else {
        return FAULT;
    };
    let message = line.strip_suffix(b"\n").unwrap_or(&line);
    if !message.is_empty() {
        let state = c.state().clone();
        state.say(level, message);
    }
    done(c.write_u32(n_out, u32::try_from(line.len()).unwrap_or(u32::MAX)))
}

/// The bytes that `count` entries of (address, length) at `iovs` name.
fn gather(c: &mut Cx<'_>, iovs: u32, count: u32) -> Result<Vec<u8>, Status> {
    let entries = c.read_bytes(iovs, count * 8)?;
    let limit = c.memory().len();
    let mut line = Vec::new();
    for entry in entries.chunks_exact(8) {
        let number = |at: usize| {
            u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]])
        };
        line.extend_from_slice(c.read(number(0), number(4))?);
        // Entries may overlap; a line is never longer than the memory.
        if line.len() > limit {
            return Err(Status::InvalidMemoryAccess);
        }
    }
    Ok(line)
}
