alerts {
  webhook {
    url = "https://user:pw@hooks.example.com/"
  }
}
listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
#! 3:11: field "url": credentials belong into "headers", and a fragment is not sent
