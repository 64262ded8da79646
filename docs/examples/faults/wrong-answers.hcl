# What a broken proxy or a broken unsealer makes of the first answers to a decrypt; the fourth is true.
fault "cut-short" {
  on   = ["decrypt"]
  nth  = 1
  body = "truncated"
}
fault "a-proxys-page" {
  on   = ["decrypt"]
  nth  = 2
  body = "garbage"
}
fault "another-plaintext" {
  on        = ["decrypt"]
  nth       = 3
  plaintext = "wrong"
}
