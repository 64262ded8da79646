#! 1:1: no listener is declared: write listener "tcp" { ... }
#! 1:1: no seal is declared: write seal "azurekeyvault" { ... }
