realm = "a b"
realm_aliases = [""]
log_level = "verbose"
log_format = "xml"
api_addr = "selkie:8200"
cluster_name = ""
listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
#! 1:9: field "realm": a realm has 1 to 128 of the characters A-Z a-z 0-9 _ - . /
#! 2:18: field "realm_aliases": a realm has 1 to 128 of the characters A-Z a-z 0-9 _ - . /
#! 3:13: field "log_level": there are "trace", "debug", "info", "warn" and "error"
#! 4:14: field "log_format": there are "standard" and "json"
#! 5:12: field "api_addr": expected a URL that begins with "https://" or "http://"
#! 6:16: field "cluster_name": must not be empty
