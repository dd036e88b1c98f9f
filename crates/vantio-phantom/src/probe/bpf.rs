//! BPF programs at LSM hooks, and where the kernel's type information names one.

use std::{fs, os::fd::AsFd as _};

use rustix::io::Errno;

use super::{Finding, Subject};
use crate::sys::{
    probe::{attach_lsm_program, load_lsm_program},
    trial::{Refusal, attempt},
};

/// Loads and attaches a program that permits everything, for a moment.
pub(super) fn lsm() -> Finding {
    let result = attempt(|| {
        let types =
            fs::read(TYPES).map_err(|_| Refusal::at("read the kernel's types (BTF)")(Errno::NOENT))?;
        let hook = function_id(&types, HOOK).ok_or_else(|| Refusal::at("find the hook")(Errno::NOENT))?;
        let program = load_lsm_program(hook).map_err(Refusal::at("load a program"))?;
        attach_lsm_program(program.as_fd()).map_err(Refusal::at("attach a program"))?;
        Ok(hook)
    });
    match result {
        Ok(_) => LSM.works("loads and attaches; not used yet"),
        Err(refusal) => LSM.refused(&refusal, "not used yet"),
    }
}

/// The number of the function `name` in BTF data (the kernel's `Documentation/bpf/btf.rst`).
fn function_id(types: &[u8], name: &str) -> Option<u32> {
    if types.get(..2)? != MAGIC.to_ne_bytes() {
        return None;
    }
    let header = word(types, 4)? as usize;
    let section = |at| -> Option<&[u8]> {
        let start = header.checked_add(word(types, at)? as usize)?;
        types.get(start..start.checked_add(word(types, at + 4)? as usize)?)
    };
    let (records, strings) = (section(8)?, section(16)?);
    let (mut at, mut id) = (0, 1);
    while let Some(info) = word(records, at + 4) {
        let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        if kind == FUNCTION && string(strings, word(records, at)?)? == name.as_bytes() {
            return Some(id);
        }
        at = at.checked_add(RECORD + extra_length(kind, count)?)?;
        id += 1;
    }
    None
}

/// How many bytes follow a record of `kind`.
fn extra_length(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        2 | 7 | 8 | 9 | 10 | 11 | 12 | 16 | 18 => 0,
        1 | 14 | 17 => 4,
        3 => 12,
        4 | 5 | 15 | 19 => 12 * count,
        6 | 13 => 8 * count,
        _ => return None,
    })
}

fn string(strings: &[u8], at: u32) -> Option<&[u8]> {
    strings.get(at as usize..)?.split(|byte| *byte == 0).next()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

const LSM: Subject =
    Subject::optional("BPF programs at LSM hooks", "nothing today: the backend `kernel` would need it");
const TYPES: &str = "/sys/kernel/btf/vmlinux";
const HOOK: &str = "bpf_lsm_file_open";
const MAGIC: u16 = 0xeb9f;
const FUNCTION: u32 = 12;
const RECORD: usize = 12;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `typedef`, an `int`, a `struct` of two members, then the function.
    fn sample() -> Vec<u8> {
        let strings = b"\0other\0wanted\0";
        let records: [&[u32]; 4] = [
            &[1, 8 << 24, 2],
            &[1, 1 << 24, 4, 0],
            &[0, 4 << 24 | 2, 8, 1, 2, 0, 1, 2, 32],
            &[7, 12 << 24, 3],
        ];
        let records: Vec<u8> = records.concat().into_iter().flat_map(u32::to_ne_bytes).collect();
        let mut types = MAGIC.to_ne_bytes().to_vec();
        types.extend([1, 0]);
        for word in [24, 0, records.len() as u32, records.len() as u32, strings.len() as u32] {
            types.extend(word.to_ne_bytes());
        }
        types.extend(records);
        types.extend(strings);
        types
    }

    #[test]
    fn a_function_is_found_behind_records_of_other_lengths() {
        assert_eq!(function_id(&sample(), "wanted"), Some(4));
        assert_eq!(function_id(&sample(), "other"), None);
    }

    proptest! {
        #[test]
        fn damaged_types_never_panic(at in 0_usize..200, value: u8, length in 0_usize..200) {
            let mut types = sample();
            if let Some(byte) = types.get_mut(at) {
                *byte = value;
            }
            types.truncate(length);
            function_id(&types, "wanted");
        }
    }
}
