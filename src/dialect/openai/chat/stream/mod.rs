//! Streams of chunks: read from a server of this format, and written for a caller of it.

mod blocks;
mod reader;
mod writer;

pub use reader::Reader;
pub use writer::Writer;

#[cfg(test)]
mod tests;
