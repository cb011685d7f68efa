//! Names of blobs: `acc_…/files/file_…`. Every blob lies below its account, so that all of an account's can be found and removed.

use super::{Timestamp, id};

/// What blobs are kept for; the middle part of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobArea {
    /// Uploads of `/v1/files`.
    Files,
    /// Profile images.
    Images,
    /// Attachments of tickets.
    Attachments,
    /// Archives of what is stored about an account.
    Exports,
}

impl BlobArea {
    pub const ALL: [Self; 4] = [Self::Files, Self::Images, Self::Attachments, Self::Exports];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Images => "images",
            Self::Attachments => "attachments",
            Self::Exports => "exports",
        }
    }
}

/// The name of one blob.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BlobKey {
    text: String,
    /// Where the last part begins.
    id_at: usize,
    area_at: usize,
}

impl BlobKey {
    /// `account_id` and `id` as [`id::prefixed`] makes them. `None` when one of them is none of ours.
    pub fn new(account_id: &str, area: BlobArea, id: &str) -> Option<Self> {
        Self::parse(&format!("{account_id}/{}/{id}", area.as_str()))
    }

    /// Reads a name that was stored. `None` for what is no name of a blob; nothing else can lead out of the folder of blobs.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let (account, area, id) = (parts.next()?, parts.next()?, parts.next()?);
        let is_plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let is_known = BlobArea::ALL.iter().any(|known| known.as_str() == area);
        if parts.next().is_some() || !is_known || !is_plain(account) || !is_plain(id) {
            return None;
        }
        Some(Self { text: text.to_owned(), area_at: account.len() + 1, id_at: text.len() - id.len() })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn account_id(&self) -> &str {
        self.text.get(..self.area_at.saturating_sub(1)).unwrap_or_default()
    }

    pub fn area(&self) -> Option<BlobArea> {
        let area = self.text.get(self.area_at..self.id_at.saturating_sub(1))?;
        BlobArea::ALL.into_iter().find(|known| known.as_str() == area)
    }

    /// When its id was made, by the clock of the node that made it.
    pub fn made_at(&self) -> Option<Timestamp> {
        id::made_at(self.text.get(self.id_at..)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let id = id::prefixed("file", 1_700_000_000_123_000, [1; 10]);
        let key = BlobKey::new("acc_1", BlobArea::Files, &id).unwrap();
        assert_eq!(key.as_str(), format!("acc_1/files/{id}"));
        assert_eq!((key.account_id(), key.area(), key.made_at()), ("acc_1", Some(BlobArea::Files), Some(1_700_000_000_123_000)));
        assert_eq!(BlobKey::parse(key.as_str()), Some(key));
    }

    #[test]
    fn nothing_leads_out_of_the_folder() {
        for text in
            ["", "a/files", "a/files/", "/files/b", "a/other/b", "a/files/b/c", "../files/b", "a/files/..", "a/files/b.c", "a/files/é"]
        {
            assert_eq!(BlobKey::parse(text), None, "{text}");
        }
        assert_eq!(BlobKey::new("acc/1", BlobArea::Files, "b"), None);
        assert_eq!(BlobKey::parse("a/files/b").unwrap().made_at(), None);
    }
}
