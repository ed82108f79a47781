//! Somebody who exchanges two names all the time, while the runtime looks them up.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

/// Does something while two names in a directory are exchanged. Afterwards each is again what it was.
#[track_caller]
pub(crate) fn while_exchanged(dir: &Path, names: [&str; 2], work: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    let outcome = std::thread::scope(|scope| {
        let racer = scope.spawn(|| exchange(dir, names, &stop));
        // Told to stop however this ends, or the scope waits for it for ever.
        let outcome = catch_unwind(AssertUnwindSafe(work));
        stop.store(true, Ordering::Relaxed);
        let count = racer.join().unwrap();
        outcome.map(|()| count)
    });
    match outcome {
        Ok(count) => assert!(count > 1000, "the racer has not raced: {count}"),
        Err(panic) => resume_unwind(panic),
    }
}

fn exchange(dir: &Path, names: [&str; 2], stop: &AtomicBool) -> u32 {
    let [a, b] = names.map(|name| dir.join(name));
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) || count % 2 == 1 {
        renameat2(AT_FDCWD, &a, AT_FDCWD, &b, RenameFlags::RENAME_EXCHANGE).unwrap();
        count += 1;
    }
    count
}
