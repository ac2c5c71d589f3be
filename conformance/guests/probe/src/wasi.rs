//! The functions of WASI.

use std::ptr;

use crate::abi;
use crate::answer::Answer;
use crate::arguments::Arguments;
use crate::text::show;

/// SAFETY, for all of the calls: every pointer is that of a live slice or variable,
/// and the host writes no more than WASI says.
pub fn call(name: &str, a: &mut Arguments<'_>) -> Answer {
    match name {
        "wasi_clock" => {
            let mut time = 0;
            let status = unsafe { abi::clock_time_get(a.u32(), 1, &mut time) };
            Answer {
                status,
                text: if time > 0 {
                    "some time".to_owned()
                } else {
                    String::new()
                },
            }
        }
        "wasi_random" => {
            let mut block = vec![0; a.size()];
            let status = unsafe { abi::random_get(block.as_mut_ptr(), block.len()) };
            let filled = block.len() >= 16 && block.iter().any(|&byte| byte != 0);
            Answer {
                status,
                text: if filled {
                    "filled".to_owned()
                } else {
                    String::new()
                },
            }
        }
        "wasi_write" => {
            let (fd, text, mut written) = (a.u32(), a.bytes(), 0);
            let vectors = [[text.as_ptr() as usize, text.len()]];
            let status = unsafe { abi::fd_write(fd, vectors.as_ptr(), 1, &mut written) };
            Answer {
                status,
                text: written.to_string(),
            }
        }
        "wasi_environment" => {
            let (mut count, mut size) = (0, 0);
            unsafe { abi::environ_sizes_get(&mut count, &mut size) };
            let (mut pointers, mut block) = (vec![ptr::null(); count], vec![0; size]);
            let status = unsafe { abi::environ_get(pointers.as_mut_ptr(), block.as_mut_ptr()) };
            let mut entries: Vec<_> = block
                .split(|&byte| byte == 0)
                .filter(|entry| !entry.is_empty())
                .map(show)
                .collect();
            entries.sort();
            Answer {
                status,
                text: format!("{count}: {}", entries.join(" ")),
            }
        }
        "wasi_arguments" => {
            let (mut count, mut size) = (0, 0);
            let status = unsafe { abi::args_sizes_get(&mut count, &mut size) };
            Answer {
                status,
                text: format!("{count} {size}"),
            }
        }
        "wasi_exit" => {
            unsafe { abi::proc_exit(a.u32()) };
            0.into()
        }
        _ => Answer {
            status: 0,
            text: "NO SUCH OPERATION".to_owned(),
        },
    }
}
