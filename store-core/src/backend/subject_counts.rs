//! Which subjects have the most sessions.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Counts subjects, and keeps those that have the most sessions, in memory for these alone.
///
/// # Examples
/// ```
/// use store_core::backend::SubjectCounts;
///
/// let mut counts = SubjectCounts::new(2);
/// for (subject, sessions) in [("ada", 1), ("bob", 3), ("eve", 2)] {
///     counts.add(subject, sessions);
/// }
/// let top = vec![("bob".to_owned(), 3), ("eve".to_owned(), 2)];
/// assert_eq!(counts.finish(), (3, top));
/// ```
#[derive(Debug)]
pub struct SubjectCounts {
    max: usize,
    subjects: u64,
    /// The one to be dropped first is on top: the fewest sessions, and of those the last name.
    top: BinaryHeap<(Reverse<u64>, String)>,
}

impl SubjectCounts {
    /// Counts of no subject yet, of which at most `max` are kept.
    ///
    /// # Examples
    /// ```
    /// use store_core::backend::SubjectCounts;
    ///
    /// assert_eq!(SubjectCounts::new(10).finish(), (0, vec![]));
    /// ```
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max, subjects: 0, top: BinaryHeap::new() }
    }

    /// Adds a subject that wasn't added before. One without sessions is none.
    ///
    /// # Examples
    /// ```
    /// use store_core::backend::SubjectCounts;
    ///
    /// let mut counts = SubjectCounts::new(10);
    /// counts.add("ada", 1);
    /// counts.add("bob", 0);
    /// assert_eq!(counts.finish(), (1, vec![("ada".to_owned(), 1)]));
    /// ```
    pub fn add(&mut self, subject: &str, sessions: u64) {
        if sessions == 0 {
            return;
        }
        self.subjects += 1;
        self.top.push((Reverse(sessions), subject.to_owned()));
        if self.top.len() > self.max {
            self.top.pop();
        }
    }

    /// Returns how many subjects there are, and those with the most sessions, sorted by that and
    /// then by name.
    ///
    /// # Examples
    /// ```
    /// use store_core::backend::SubjectCounts;
    ///
    /// let mut counts = SubjectCounts::new(1);
    /// counts.add("eve", 2);
    /// counts.add("bob", 2);
    /// assert_eq!(counts.finish(), (2, vec![("bob".to_owned(), 2)]));
    /// ```
    #[must_use]
    pub fn finish(self) -> (u64, Vec<(String, u64)>) {
        let sorted = self.top.into_sorted_vec().into_iter();
        (self.subjects, sorted.map(|(Reverse(sessions), subject)| (subject, sessions)).collect())
    }
}
