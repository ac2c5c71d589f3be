//! The filters of the guide are examples of this package, a file each.
