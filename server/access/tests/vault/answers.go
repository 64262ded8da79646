// Asks a real Vault core (1.14.0) what it thinks of our table of policy answers, and records its answers to
// random policies. Run it from the module that holds Vault as a dependency:
//
//	cd tests/peers/vault
//	go run ../../../server/access/tests/vault/answers.go check  < ../../../server/access/tests/vault/table.txt
//	go run ../../../server/access/tests/vault/answers.go random 250 > ../../../server/access/tests/vault/random.txt
package main

import (
	"bufio"
	"context"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"strconv"
	"strings"

	"github.com/hashicorp/vault/helper/namespace"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/vault"
)

var bits = map[uint32]string{
	vault.CreateCapabilityInt: "create", vault.DeleteCapabilityInt: "delete", vault.ListCapabilityInt: "list",
	vault.PatchCapabilityInt: "patch", vault.ReadCapabilityInt: "read", vault.SudoCapabilityInt: "sudo",
	vault.UpdateCapabilityInt: "update",
}

type client struct {
	ctx   context.Context
	acl   *vault.ACL
	exact map[string]bool
}

// newClient takes policies in the notation of table.txt.
func newClient(policies []string) client {
	c := client{ctx: namespace.RootContext(context.Background()), exact: map[string]bool{}}
	var parsed []*vault.Policy
	for _, policy := range policies {
		var hcl strings.Builder
		for _, rule := range strings.Fields(policy) {
			path, words, _ := strings.Cut(rule, "=")
			fmt.Fprintf(&hcl, "path %q { capabilities = [", path)
			for _, word := range strings.FieldsFunc(words, func(r rune) bool { return r == ',' }) {
				fmt.Fprintf(&hcl, "%q,", word)
			}
			hcl.WriteString("] }\n")
		}
		p, err := vault.ParseACLPolicy(namespace.RootNamespace, hcl.String())
		if err != nil {
			panic(err)
		}
		for _, rule := range p.Paths {
			if !rule.IsPrefix && !rule.HasSegmentWildcards {
				c.exact[rule.Path] = true
			}
		}
		parsed = append(parsed, p)
	}
	acl, err := vault.NewACL(c.ctx, parsed)
	if err != nil {
		panic(err)
	}
	c.acl = acl
	return c
}

func (c client) capabilities(path string) string {
	req := &logical.Request{Path: path, Operation: logical.ReadOperation}
	return names(c.acl.AllowOperation(c.ctx, req, true).CapabilitiesBitmap)
}

// listed is what Vault from 1.14.6 on answers: without an exact rule, patterns are asked for the path without
// its last slash first. 1.14.0 has all the parts of that.
func (c client) listed(path string) string {
	path = strings.TrimLeft(path, "/")
	bare := strings.TrimSuffix(path, "/")
	if !c.exact[path] && !c.exact[bare] && bare != path {
		if found := c.acl.CheckAllowedFromNonExactPaths(bare, false); found != nil {
			return names(found.CapabilitiesBitmap)
		}
	}
	req := &logical.Request{Path: path, Operation: logical.ListOperation}
	return names(c.acl.AllowOperation(c.ctx, req, true).CapabilitiesBitmap)
}

func names(bitmap uint32) string {
	var list []string
	for bit, name := range bits {
		if bitmap&bit != 0 {
			list = append(list, name)
		}
	}
	if len(list) == 0 {
		return "deny"
	}
	sort.Strings(list)
	return strings.Join(list, ",")
}

func check() {
	var policies []string
	fresh, answers, wrong := false, 0, 0
	var c client
	lines := bufio.NewScanner(os.Stdin)
	for number := 1; lines.Scan(); number++ {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if rest, ok := strings.CutPrefix(line, "policy"); ok {
			if !fresh {
				policies = nil
			}
			policies, fresh = append(policies, rest), true
			continue
		}
		if fresh {
			c, fresh = newClient(policies), false
		}
		question, want, _ := strings.Cut(line, ": ")
		path, isList := strings.CutPrefix(question, "list ")
		ask := c.capabilities
		if isList {
			ask = c.listed
		}
		answers++
		if got := ask(path); got != want {
			wrong++
			fmt.Printf("line %d: %s: Vault says %s\n", number, line, got)
		}
	}
	fmt.Printf("%d answers, %d wrong\n", answers, wrong)
	if wrong > 0 {
		os.Exit(1)
	}
}

func random(clients int) {
	source := rand.New(rand.NewSource(1))
	pick := func(from ...string) string { return from[source.Intn(len(from))] }
	path := func(segments ...string) string {
		var parts []string
		for range 1 + source.Intn(4) {
			parts = append(parts, pick(segments...))
		}
		return strings.Join(parts, "/")
	}
	words := []string{"create", "read", "update", "delete", "list", "sudo", "patch"}
	fmt.Println("# Answers of Vault 1.14.0 to random policies, made by answers.go; the notation is that of table.txt.")
	for range clients {
		var policies, rules []string
		for range 1 + source.Intn(3) {
			policy := ""
			for range 1 + source.Intn(4) {
				rule := path("a", "a", "b", "ab", "+", "+", "", "+a", "a+") + pick("", "", "*", "*", "/")
				rule = strings.ReplaceAll(rule, "+*", "+")
				rules = append(rules, rule)
				grant := pick(words...) + "," + pick(words...)
				if source.Intn(6) == 0 {
					grant = "deny"
				}
				policy += " " + rule + "=" + grant
			}
			fmt.Println("policy" + policy)
			policies = append(policies, policy)
		}
		c := newClient(policies)
		for range 4 {
			asked := path("a", "b", "ab", "")
			if source.Intn(5) > 0 {
				asked = strings.NewReplacer("+", pick("a", "b", ""), "*", pick("", "a", "/a", "b/")).Replace(pick(rules...))
			}
			asked += pick("", "", "/")
			fmt.Printf("%s: %s\n", asked, c.capabilities(asked))
			if strings.HasSuffix(asked, "/") {
				fmt.Printf("list %s: %s\n", asked, c.listed(asked))
			}
		}
	}
}

func main() {
	if os.Args[1] == "check" {
		check()
		return
	}
	clients, err := strconv.Atoi(os.Args[2])
	if err != nil {
		panic(err)
	}
	random(clients)
}
