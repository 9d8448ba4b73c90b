//! A mail server for tests.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A local mail server that accepts every mail, or refuses every recipient.
pub struct MailServer {
    pub port: u16,
    pub mails: Arc<Mutex<Vec<String>>>,
}

impl MailServer {
    pub fn start(refuses: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (port, mails) = (listener.local_addr().expect("an address").port(), Arc::default());
        let inbox = Arc::clone(&mails);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve_mail(stream.expect("a connection"), refuses, &inbox);
            }
        });
        Self { port, mails }
    }
}

fn serve_mail(stream: TcpStream, refuses: bool, inbox: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    reader.get_mut().write_all(b"220 test\r\n").expect("a greeting");
    let mut line = String::new();
    while {
        line.clear();
        reader.read_line(&mut line).is_ok_and(|read| read > 0)
    } {
        let answer = match line.get(..4).unwrap_or_default().to_ascii_uppercase().as_str() {
            "EHLO" => "250-test\r\n250 8BITMIME\r\n",
            "RCPT" if refuses => "550 no such user: secret-name@example.com\r\n",
            "DATA" => {
                reader.get_mut().write_all(b"354 go\r\n").expect("an answer");
                let mut mail = String::new();
                while !mail.ends_with("\r\n.\r\n") && reader.read_line(&mut mail).is_ok_and(|read| read > 0) {}
                inbox.lock().expect("a list").push(mail);
                "250 taken\r\n"
            }
            "QUIT" => "221 bye\r\n",
            _ => "250 fine\r\n",
        };
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
