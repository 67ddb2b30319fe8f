// Writes what the engine needs to hash Pod templates and steps as Argo Rollouts v1.9 does:
//
//	go run . fields  > ../../src/rollout/template_hash/go_types.txt   struct fields in Go's order, by reflection
//	go run . vectors > vectors.json                                   templates and steps with the hashes that Go gives
//
// The vectors are the cases of cases.json and random ones; both commands give the same bytes each time.
package main

import (
	"fmt"
	"os"
	"reflect"

	"github.com/argoproj/argo-rollouts/pkg/apis/rollouts/v1alpha1"
	corev1 "k8s.io/api/core/v1"
)

func main() {
	if len(os.Args) != 2 {
		fail("usage: go run . fields|vectors")
	}
	switch os.Args[1] {
	case "fields":
		table := &fieldTable{lines: map[string]string{}, types: map[string]reflect.Type{}}
		table.shape(reflect.TypeFor[corev1.PodTemplateSpec]())
		table.shape(reflect.TypeFor[v1alpha1.CanaryStep]())
		table.print()
	case "vectors":
		vectors().print()
	default:
		fail("unknown command `" + os.Args[1] + "`")
	}
}

func fail(message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(1)
}
