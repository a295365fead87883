"""All tags, by the station of the way that they change.  Importing this package registers them."""
