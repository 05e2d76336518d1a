//! Threads that derive from the log: they give way to those that someone waits for.

use std::thread::JoinHandle;

/// Steps of niceness: a tenth of the share of a processor that other threads get, where there are not
/// enough for all, and all that is left over (sched(7)).
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Starts a thread. What it is behind with, reads look up by themselves.
pub(crate) fn spawn(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(|| {
        give_way();
        work();
    })
}

/// On Linux niceness is a thread's own. Elsewhere it would be the whole process's.
fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        log::debug!("a thread that derives from the log keeps its priority: {error}");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_derives_is_nicer_than_others_and_makes_no_other_so() {
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        let before = niceness();
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = spawn("derives", move || sender.send(niceness()).unwrap()).unwrap();
        thread.join().unwrap();
        assert_eq!(receiver.recv(), Ok((before + NICENESS).min(19)));
        assert_eq!(niceness(), before);
    }
}
