//! Lists in parts: newest first, each page behind the last item of the one before.

/// Which part of a list is wanted.
#[derive(Debug, Clone)]
pub struct PageRequest {
    /// At most this many items.
    pub limit: usize,
    /// [`Page::next`] of the page before.
    pub cursor: Option<String>,
}

impl PageRequest {
    /// How many items to read: one more than wanted tells whether there are more.
    pub(super) fn rows(&self) -> u64 {
        self.limit as u64 + 1
    }

    pub(super) fn after(&self) -> Option<&str> {
        self.cursor.as_deref()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Makes a page of up to [`PageRequest::rows`] rows.
    pub(super) fn cut(mut rows: Vec<T>, request: &PageRequest, cursor: impl Fn(&T) -> String) -> Self {
        let has_more = rows.len() > request.limit;
        rows.truncate(request.limit);
        let next = rows.last().filter(|_| has_more).map(cursor);
        Self { items: rows, next }
    }

    /// Makes a page of a whole list.
    pub(super) fn of_all(rows: Vec<T>, request: &PageRequest, cursor: impl Fn(&T) -> String) -> Self {
        let start = match request.after() {
            // A cursor that names nothing (the item was deleted meanwhile) ends the list rather than starting it again.
            Some(after) => rows.iter().position(|row| cursor(row) == after).map_or(rows.len(), |index| index + 1),
            None => 0,
        };
        let rows = rows.into_iter().skip(start).take(request.limit + 1).collect();
        Self::cut(rows, request, cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(limit: usize, cursor: Option<&str>) -> PageRequest {
        PageRequest { limit, cursor: cursor.map(str::to_owned) }
    }

    #[test]
    fn pages_join_up_to_the_whole_list() {
        let all: Vec<u32> = (0..7).collect();
        for limit in 1..9 {
            let (mut seen, mut cursor) = (Vec::new(), None);
            loop {
                let page = Page::of_all(all.clone(), &request(limit, cursor.as_deref()), u32::to_string);
                assert!(page.items.len() <= limit);
                seen.extend(page.items);
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(seen, all, "limit {limit}");
        }
    }

    #[test]
    fn a_full_last_page_has_no_next() {
        let page = Page::cut(vec![1, 2], &request(2, None), u32::to_string);
        assert_eq!(page, Page { items: vec![1, 2], next: None });
        let page = Page::cut(vec![1, 2, 3], &request(2, None), u32::to_string);
        assert_eq!(page, Page { items: vec![1, 2], next: Some("2".to_owned()) });
    }
}
