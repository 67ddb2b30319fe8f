package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// One line for each struct: its name, then `name` + flags + `:` + shape for each field. Flags: `?` omitempty, `~` omitzero.
// Shapes: string bool int32 int64 quantity intstr time raw, `*`, `[]` or `{}` before a shape, else the name of a struct.
type fieldTable struct {
	lines map[string]string
	types map[string]reflect.Type
}

var special = map[reflect.Type]string{
	reflect.TypeFor[resource.Quantity]():  "quantity",
	reflect.TypeFor[intstr.IntOrString](): "intstr",
	reflect.TypeFor[metav1.Time]():        "time",
	reflect.TypeFor[metav1.FieldsV1]():    "raw",
	reflect.TypeFor[json.RawMessage]():    "raw",
}

func (table *fieldTable) shape(t reflect.Type) string {
	if name, ok := special[t]; ok {
		return name
	}
	if t.Kind() == reflect.Pointer {
		return "*" + table.shape(t.Elem())
	}
	if t.Implements(reflect.TypeFor[json.Marshaler]()) || reflect.PointerTo(t).Implements(reflect.TypeFor[json.Marshaler]()) {
		fail("type with a marshaller of its own: " + t.String())
	}
	switch t.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool, reflect.Int32, reflect.Int64:
		return t.Kind().String()
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			fail("bytes: " + t.String())
		}
		return "[]" + table.shape(t.Elem())
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			fail("map key: " + t.String())
		}
		return "{}" + table.shape(t.Elem())
	case reflect.Struct:
		if known, ok := table.types[t.Name()]; ok && known != t {
			fail("two types of one name: " + known.String() + ", " + t.String())
		}
		if _, ok := table.lines[t.Name()]; !ok {
			table.types[t.Name()] = t
			table.lines[t.Name()] = ""
			fields := table.fields(t)
			table.lines[t.Name()] = t.Name() + " " + strings.Join(fields, " ")
		}
		return t.Name()
	default:
		fail("kind: " + t.String())
		return ""
	}
}

func (table *fieldTable) fields(t reflect.Type) []string {
	var fields []string
	for field := range t.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		if inlined(field) {
			fields = append(fields, table.fields(field.Type)...)
			continue
		}
		if name == "" {
			fail("field without a name: " + t.String() + "." + field.Name)
		}
		flags := ""
		for _, option := range strings.Split(options, ",") {
			switch option {
			case "omitempty":
				flags += "?"
			case "omitzero":
				flags += "~"
			case "":
			default:
				fail("option " + option + " of " + t.String() + "." + field.Name)
			}
		}
		fields = append(fields, name+flags+":"+table.shape(field.Type))
	}
	return fields
}

func (table *fieldTable) print() {
	var names []string
	for name := range table.lines {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Println(table.lines[name])
	}
}
