listener "tcp" {
  tls_disable = true
  proxy_protocol_behavior = "allow_authorized"
  x_forwarded_for_hop_skips = 1
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
listener "tcp" {
  tls_disable = true
  address = "127.0.0.1:2"
  proxy_protocol_authorized_addrs = "10.0.0.1"
  x_forwarded_for_authorized_addrs = ""
}
listener "tcp" {
  tls_disable = true
  address = "127.0.0.1:3"
  proxy_protocol_behavior = "sometimes"
  proxy_protocol_authorized_addrs = ["10.0.0.1", "proxy.example.com"]
}
#! 3:29: "allow_authorized" needs addresses in "proxy_protocol_authorized_addrs"
#! 4:31: field "x_forwarded_for_hop_skips" has no effect without "x_forwarded_for_authorized_addrs"
#! 13:37: field "proxy_protocol_authorized_addrs" has no effect without "proxy_protocol_behavior"
#! 14:38: field "x_forwarded_for_authorized_addrs": at least one address is needed
#! 19:29: field "proxy_protocol_behavior": there are "use_always", "allow_authorized" and "deny_unauthorized"
#! 20:50: expected an IP address or a network such as "10.0.0.0/8"
