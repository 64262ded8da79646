listener "tcp" {
  tls_cert_file         = "/a"
  tls_key_file          = "/b"
  tls_client_ca_file    = "/c"
  tls_client_crl_file   = []
  tls_client_crl_strict = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
client "empty" {
  policies = []
  certificate {}
}
client "wrong" {
  policies = []
  period   = "1h"
  certificate {
    sha256      = "abc"
    spiffe_id   = ["spiffe://example.org"]
    dns_san     = ["a.example.com", ""]
    email_san   = []
    common_name = "*"
    crl_file    = "/x"
    crl_strict  = true
    ip_san      = "10.0.0.1"
  }
}
client "renewed" {
  policies = []
  period   = "1h"
  certificate {
    dns_san = "renewed"
  }
}
client "a" {
  policies = []
  certificate {
    dns_san = ["a.example.com", "b.example.com"]
  }
}
client "b" {
  policies = []
  certificate {
    dns_san = "*.example.com"
  }
}
client "elsewhere" {
  policies = []
  certificate {
    dns_san = "a.example.com"
    ca_file = "/d"
  }
}
client "apart" {
  policies = []
  certificate {
    dns_san = "a.example.org"
    ca_file = "/d"
  }
}
client "apart-2" {
  policies = []
  certificate {
    dns_san = "a.example.org"
    ca_file = "/e"
  }
}
#! 5:27: field "tls_client_crl_file": must not be empty
#! 14:3: "certificate" names nobody: set one at least of "sha256", "spiffe_id", "dns_san", "uri_san", "email_san" and "common_name"
#! 20:19: field "sha256": expected 64 hexadecimal digits, with or without colons, the output of: openssl x509 -noout -fingerprint -sha256
#! 21:20: field "spiffe_id": expected spiffe://TRUST-DOMAIN/PATH: the domain of a-z 0-9 . _ -, the path of segments of A-Z a-z 0-9 . _ - that are not empty, "." or ".."
#! 22:37: field "dns_san": must not be empty
#! 23:19: field "email_san": must not be empty
#! 24:19: field "common_name": "*" alone would be everyone with a certificate
#! 25:19: field "crl_file" needs "ca_file": whose lists would they be?
#! 27:5: unknown field "ip_san" in certificate
#! 32:14: field "period": only a token is renewed, and this client has none
#! 43:8: client "a" has certificates that would be this client's as well: nobody could tell which of the two it is
#! 49:8: client "a" has certificates that would be this client's as well: nobody could tell which of the two it is
