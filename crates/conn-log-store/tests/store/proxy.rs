//! A proxy that loses the answer to a COMMIT: it passes the request on, and then hangs up.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub(crate) struct Proxy {
    pub(crate) port: u16,
    is_armed: Arc<AtomicBool>,
}

impl Proxy {
    pub(crate) fn to(server: &str) -> Self {
        let server = server.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let is_armed = Arc::new(AtomicBool::new(false));
        let armed = Arc::clone(&is_armed);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(&server).unwrap();
                let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || pass_on(from, to, None));
                let armed = Arc::clone(&armed);
                std::thread::spawn(move || pass_on(client, server, Some(&armed)));
            }
        });
        Proxy { port, is_armed }
    }

    /// Makes the proxy drop the answer to the next COMMIT.
    pub(crate) fn arm(&self) {
        self.is_armed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn has_struck(&self) -> bool {
        !self.is_armed.load(Ordering::SeqCst)
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, armed: Option<&AtomicBool>) {
    let mut buffer = [0; 8 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let some = &buffer[..count];
        let is_commit = some.windows(7).any(|text| text == b"COMMIT\0");
        if is_commit && armed.as_ref().is_some_and(|armed| armed.swap(false, Ordering::SeqCst)) {
            // The client gets no more data; the server sees the end of the connection, and has time
            // to handle it.
            from.shutdown(Shutdown::Both).ok();
            to.write_all(some).ok();
            std::thread::sleep(Duration::from_millis(200));
            break;
        }
        if to.write_all(some).is_err() {
            break;
        }
    }
    from.shutdown(Shutdown::Both).ok();
    to.shutdown(Shutdown::Both).ok();
}
