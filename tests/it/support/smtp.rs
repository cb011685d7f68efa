//! A mail server on loopback that keeps what it is given and misbehaves on demand.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use mail_parser::MessageParser;
use pixgate::{config::Settings, telemetry::redact::Secret};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
};

pub const SENDER: &str = "Pixgate <pixgate@mail.example>";
const PATIENCE: Duration = Duration::from_secs(20);

/// What happens to mails for one address.
#[derive(Debug, Clone)]
pub enum Fault {
    /// RCPT is answered with this line, for example `450 4.2.1 try again later`.
    Answer(String),
    /// The connection ends where the answer to the mail should be.
    Drop,
}

/// A mail as its reader sees it.
#[derive(Debug, Clone)]
pub struct Mail {
    pub subject: String,
    pub text: String,
    pub html: String,
    /// As it came over the wire.
    pub raw: String,
}

impl Mail {
    /// A header as it is written, without decoding.
    pub fn header(&self, name: &str) -> Option<&str> {
        let head = self.raw.split("\r\n\r\n").next()?;
        head.split("\r\n")
            .find_map(|line| line.split_once(": ").filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value))
    }

    /// The first link of the text part.
    #[track_caller]
    pub fn link(&self) -> String {
        let start = self.text.find("http").unwrap_or_else(|| panic!("no link in {}", self.text));
        self.text[start..].split_whitespace().next().expect("a link").to_owned()
    }

    /// What the first link carries as `token`.
    #[track_caller]
    pub fn token(&self) -> String {
        let link = self.link();
        let (_, rest) = link.split_once("token=").unwrap_or_else(|| panic!("no token in {link}"));
        rest.split('&').next().expect("a token").to_owned()
    }
}

#[derive(Default)]
struct Inbox {
    /// In the order they came; `None` once a test has taken them.
    mails: Vec<(String, Option<Mail>)>,
    faults: HashMap<String, Fault>,
}

pub struct Smtp {
    pub url: String,
    inbox: Arc<Mutex<Inbox>>,
    changed: watch::Sender<u64>,
}

impl Smtp {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("smtp://{}", listener.local_addr().expect("an address"));
        let (inbox, (changed, _)) = (Arc::new(Mutex::new(Inbox::default())), watch::channel(0));
        let (shared, sender) = (inbox.clone(), changed.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (inbox, changed) = (shared.clone(), sender.clone());
                tokio::spawn(async move { converse(stream, &inbox, &changed).await });
            }
        });
        Self { url, inbox, changed }
    }

    /// Has a gateway send its mails here: `World::with(|settings| smtp.receive_from(settings))`.
    pub fn receive_from(&self, settings: &mut Settings) {
        settings.mail.smtp_url = Some(Secret::new(self.url.clone()));
        settings.mail.from = Some(SENDER.to_owned());
    }

    /// Mails to this address fail until [`Smtp::accept`].
    pub fn refuse(&self, to: &str, fault: Fault) {
        self.lock().faults.insert(to.to_owned(), fault);
    }

    pub fn accept(&self, to: &str) {
        self.lock().faults.remove(to);
    }

    /// The next mail to this address that no test has taken yet, as soon as it is there.
    pub async fn next_to(&self, to: &str) -> Mail {
        let take = |inbox: &mut Inbox| inbox.mails.iter_mut().find(|(other, mail)| other == to && mail.is_some())?.1.take();
        self.wait(&format!("a mail to {to}"), take).await
    }

    /// Mails that came for this address, taken or not.
    pub fn count_to(&self, to: &str) -> usize {
        self.lock().mails.iter().filter(|(other, _)| other == to).count()
    }

    async fn wait<T>(&self, what: &str, mut look: impl FnMut(&mut Inbox) -> Option<T>) -> T {
        let mut changes = self.changed.subscribe();
        let found = async {
            loop {
                changes.borrow_and_update();
                if let Some(found) = look(&mut self.lock()) {
                    return found;
                }
                changes.changed().await.expect("the catcher lives");
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("never came: {what}"))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inbox> {
        self.inbox.lock().expect("no panic under the lock")
    }
}

/// One connection, until the client leaves or a fault ends it.
async fn converse(stream: TcpStream, inbox: &Mutex<Inbox>, changed: &watch::Sender<u64>) -> Option<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).split(b'\n');
    let mut recipients: Vec<String> = Vec::new();
    write.write_all(b"220 catcher ESMTP\r\n").await.ok()?;
    while let Some(line) = lines.next_segment().await.ok()? {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let answer = match verb.as_str() {
            "EHLO" => "250-catcher\r\n250 8BITMIME".to_owned(),
            "MAIL" | "RSET" => {
                recipients.clear();
                "250 2.1.0 ok".to_owned()
            }
            "RCPT" => {
                let to = line.split_once('<')?.1.split('>').next()?.to_owned();
                let fault = {
                    let inbox = inbox.lock().expect("no panic under the lock");
                    inbox.faults.get(&to).cloned()
                };
                changed.send_modify(|count| *count += 1);
                match fault {
                    Some(Fault::Answer(answer)) => answer,
                    _ => {
                        recipients.push(to);
                        "250 2.1.5 ok".to_owned()
                    }
                }
            }
            "DATA" => {
                write.write_all(b"354 go on\r\n").await.ok()?;
                let mut raw = Vec::new();
                loop {
                    let line = lines.next_segment().await.ok()??;
                    if line == b".\r" {
                        break;
                    }
                    raw.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
                    raw.push(b'\n');
                }
                let mut inbox = inbox.lock().expect("no panic under the lock");
                if recipients.iter().any(|to| matches!(inbox.faults.get(to), Some(Fault::Drop))) {
                    return None;
                }
                inbox.mails.extend(recipients.drain(..).map(|to| (to, Some(read_mail(&raw)))));
                changed.send_modify(|count| *count += 1);
                "250 2.0.0 kept".to_owned()
            }
            "NOOP" => "250 2.0.0 ok".to_owned(),
            "QUIT" => "221 2.0.0 bye".to_owned(),
            _ => "502 5.5.1 unknown command".to_owned(),
        };
        write.write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
    }
    Some(())
}

fn read_mail(raw: &[u8]) -> Mail {
    let parsed = MessageParser::default().parse(raw).expect("a mail");
    Mail {
        subject: parsed.subject().unwrap_or_default().to_owned(),
        text: parsed.body_text(0).unwrap_or_default().into_owned(),
        html: parsed.body_html(0).unwrap_or_default().into_owned(),
        raw: String::from_utf8_lossy(raw).into_owned(),
    }
}
