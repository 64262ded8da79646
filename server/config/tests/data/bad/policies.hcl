listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
policy "root" {}
policy "a" {
  path "x" {
    capabilities = ["update"]
  }
}
policy "A" {}
policy "b" {
  file = "/gone.hcl"
}
policy "c" {
  file = "/etc/selkie/broken.hcl"
}
policy "d" {
  file = "/etc/selkie/broken.json"
  path "x" {
    capabilities = ["update"]
  }
}
policy "e,f" {}
policy "g" {
  path "x" {
    capabilites = ["update"]
  }
}
#! 8:8: policy "root" is built in and cannot be declared
#! 14:8: policy "a" is declared twice; upper and lower case are the same
#! 16:10: field "file": "/gone.hcl" does not exist
#! 21:1: a policy has its rules here or in a "file", not both
#! 22:10: field "file": "/etc/selkie/broken.json": EOF while parsing a value at line 1 column 8
#! 27:8: policy "e,f": character not allowed at byte 1
#! 30:5: unknown field "capabilites" in path "x"; did you mean "capabilities"?
#! /etc/selkie/broken.hcl:2:3: unknown field "capabilites" in path "x"; did you mean "capabilities"?
