//! A bundle that somebody gave us is opened and examined without harm, whatever is in it, and never
//! vouched for by a key that did not sign its checkpoint.

#![no_main]

use std::{fs::File, io::Write as _, os::fd::AsRawFd as _, path::PathBuf, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use vantio_ledger::{
    bundle::{Bundle, names},
    note::VerifierKey,
};

/// A key that has signed nothing.
static STRANGER: LazyLock<VerifierKey> = LazyLock::new(|| {
    let text = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
    text.parse().expect("the key of a test")
});

fuzz_target!(|bytes: &[u8]| {
    let mut file =
        File::from(rustix::fs::memfd_create("bundle", rustix::fs::MemfdFlags::CLOEXEC).expect("memory"));
    file.write_all(bytes).expect("memory");
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let Ok(bundle) = Bundle::open(&path) else { return };
    for name in [names::MANIFEST, names::CHECKPOINT, names::TRUST] {
        let _ = bundle.member(name);
    }
    let _ = bundle.examine(&[]);
    if let Ok(examined) = bundle.examine(std::slice::from_ref(&STRANGER)) {
        assert!(examined.given.is_err(), "vouched for by a key that signed nothing");
    }
});
