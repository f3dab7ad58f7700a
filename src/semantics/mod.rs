//! HTTP caching as pure functions of header fields and instants, a file for each chapter.
