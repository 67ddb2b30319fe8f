package main

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"reflect"
	"sort"
	"strings"

	"github.com/argoproj/argo-rollouts/pkg/apis/rollouts/v1alpha1"
	"github.com/argoproj/argo-rollouts/utils/hash"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	kuberand "k8s.io/apimachinery/pkg/util/rand"
)

type file struct {
	Templates  []template  `json:"templates"`
	Steps      []steps     `json:"steps"`
	Quantities [][2]string `json:"quantities"`
}

type template struct {
	Name           string          `json:"name"`
	Template       json.RawMessage `json:"template"`
	CollisionCount *int32          `json:"collisionCount,omitempty"`
	// What Go marshals, where it is short enough to be worth reading.
	Bytes string `json:"bytes,omitempty"`
	Hash  string `json:"hash"`
	// The hash of the form with `creationTimestamp: null`.
	Legacy string `json:"legacy"`
}

type steps struct {
	Name  string          `json:"name"`
	Steps json.RawMessage `json:"steps"`
	Bytes string          `json:"bytes"`
	Hash  string          `json:"hash"`
}

func vectors() file {
	text, err := os.ReadFile("cases.json")
	if err != nil {
		fail(err.Error())
	}
	var out file
	if err := json.Unmarshal(text, &out); err != nil {
		fail(err.Error())
	}
	source := rand.New(rand.NewPCG(34, 5))
	for i := range 80 {
		var spec corev1.PodTemplateSpec
		fill(source, reflect.ValueOf(&spec).Elem(), 0)
		var count *int32
		if i%4 == 3 {
			n := int32(source.IntN(300) - 20)
			count = &n
		}
		out.Templates = append(out.Templates, template{
			Name: fmt.Sprintf("random %d", i), Template: thinned(source, &spec), CollisionCount: count,
		})
	}
	for i := range 20 {
		list := make([]v1alpha1.CanaryStep, 1+source.IntN(4))
		for j := range list {
			fill(source, reflect.ValueOf(&list[j]).Elem(), 1)
		}
		out.Steps = append(out.Steps, steps{Name: fmt.Sprintf("random %d", i), Steps: thinned(source, &list)})
	}
	for i := range out.Templates {
		out.Templates[i].complete()
	}
	for i := range out.Steps {
		out.Steps[i].complete()
	}
	for i := range out.Quantities {
		out.Quantities[i][1] = canonical(out.Quantities[i][0])
	}
	for range 150 {
		text := quantity(source)
		out.Quantities = append(out.Quantities, [2]string{text, canonical(text)})
	}
	return out
}

// One vector in each line, so that a difference is readable.
func (all file) print() {
	list := func(name string, length int, item func(int) any, end string) {
		fmt.Printf(" %q: [\n", name)
		for i := range length {
			comma := ","
			if i == length-1 {
				comma = ""
			}
			fmt.Println("  " + marshal(item(i)) + comma)
		}
		fmt.Println(" ]" + end)
	}
	fmt.Println("{")
	list("templates", len(all.Templates), func(i int) any { return all.Templates[i] }, ",")
	list("steps", len(all.Steps), func(i int) any { return all.Steps[i] }, ",")
	list("quantities", len(all.Quantities), func(i int) any { return all.Quantities[i] }, "")
	fmt.Println("}")
}

func (vector *template) complete() {
	var spec corev1.PodTemplateSpec
	if err := json.Unmarshal(vector.Template, &spec); err != nil {
		fail(vector.Name + ": " + err.Error())
	}
	vector.Hash = hash.ComputePodTemplateHash(&spec, vector.CollisionCount)
	text := marshal(spec)
	if len(text) < 600 {
		vector.Bytes = text
	}
	if sum := sumOf(text, vector.CollisionCount); sum != vector.Hash {
		fail(vector.Name + ": " + sum + " is not " + vector.Hash)
	}
	vector.Legacy = sumOf(marshal(legacy(reflect.ValueOf(spec))), vector.CollisionCount)
}

func (vector *steps) complete() {
	var list []v1alpha1.CanaryStep
	if err := json.Unmarshal(vector.Steps, &list); err != nil {
		fail(vector.Name + ": " + err.Error())
	}
	vector.Bytes = marshal(list)
	vector.Hash = sumOf(vector.Bytes, nil)
}

func marshal(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		fail(err.Error())
	}
	return string(text)
}

func sumOf(text string, count *int32) string {
	hasher := fnv.New32a()
	hasher.Write([]byte(text))
	if count != nil {
		n := uint32(*count)
		hasher.Write([]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24), 0, 0, 0, 0})
	}
	return kuberand.SafeEncodeString(fmt.Sprint(hasher.Sum32()))
}

// The older libraries had no omitzero on creationTimestamp: the same value, of a type without that option.
func legacy(value reflect.Value) any {
	copied := reflect.New(legacyType(value.Type())).Elem()
	copyInto(copied, value)
	return copied.Interface()
}

var legacyTypes = map[reflect.Type]reflect.Type{}

func legacyType(t reflect.Type) reflect.Type {
	if known, ok := legacyTypes[t]; ok {
		return known
	}
	result := t
	if _, ok := special[t]; !ok {
		switch t.Kind() {
		case reflect.Pointer:
			result = reflect.PointerTo(legacyType(t.Elem()))
		case reflect.Slice:
			result = reflect.SliceOf(legacyType(t.Elem()))
		case reflect.Map:
			result = reflect.MapOf(t.Key(), legacyType(t.Elem()))
		case reflect.Struct:
			var fields []reflect.StructField
			for field := range t.Fields() {
				field.Type = legacyType(field.Type)
				field.Tag = reflect.StructTag(strings.Replace(string(field.Tag), ",omitzero", "", 1))
				// A struct made by reflection cannot embed a type with methods: its fields take the place.
				if inlined(field) {
					for inner := range field.Type.Fields() {
						fields = append(fields, reflect.StructField{Name: inner.Name, Type: inner.Type, Tag: inner.Tag})
					}
					continue
				}
				fields = append(fields, reflect.StructField{Name: field.Name, Type: field.Type, Tag: field.Tag})
			}
			result = reflect.StructOf(fields)
		}
	}
	legacyTypes[t] = result
	return result
}

func inlined(field reflect.StructField) bool {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	return field.Anonymous && name == ""
}

func copyInto(to, from reflect.Value) {
	if to.Type() == from.Type() {
		to.Set(from)
		return
	}
	switch from.Kind() {
	case reflect.Pointer:
		if !from.IsNil() {
			to.Set(reflect.New(to.Type().Elem()))
			copyInto(to.Elem(), from.Elem())
		}
	case reflect.Slice:
		if !from.IsNil() {
			to.Set(reflect.MakeSlice(to.Type(), from.Len(), from.Len()))
			for i := range from.Len() {
				copyInto(to.Index(i), from.Index(i))
			}
		}
	case reflect.Map:
		if !from.IsNil() {
			to.Set(reflect.MakeMap(to.Type()))
			for _, key := range from.MapKeys() {
				element := reflect.New(to.Type().Elem()).Elem()
				copyInto(element, from.MapIndex(key))
				to.SetMapIndex(key, element)
			}
		}
	case reflect.Struct:
		for i := range from.NumField() {
			if inlined(from.Type().Field(i)) {
				inner := from.Field(i)
				for j := range inner.NumField() {
					copyInto(to.FieldByName(inner.Type().Field(j).Name), inner.Field(j))
				}
				continue
			}
			copyInto(to.FieldByName(from.Type().Field(i).Name), from.Field(i))
		}
	}
}

var words = []string{"", "web", "a<b>&c", "ümlaut", "line\nbreak\ttab", "\u2028", "quote\"back\\slash", "Always", "\u0001\b\f\u007f", "日本"}

// Fills a value at random, sparsely in the depth.
func fill(source *rand.Rand, value reflect.Value, depth int) {
	switch value.Type() {
	case reflect.TypeFor[resource.Quantity]():
		value.Set(reflect.ValueOf(resource.MustParse(quantity(source))))
		return
	case reflect.TypeFor[intstr.IntOrString]():
		if source.IntN(2) == 0 {
			value.Set(reflect.ValueOf(intstr.FromInt32(int32(source.IntN(9000)))))
		} else {
			value.Set(reflect.ValueOf(intstr.FromString(word(source))))
		}
		return
	case reflect.TypeFor[metav1.Time]():
		if source.IntN(3) == 0 {
			value.Set(reflect.ValueOf(metav1.Unix(1700000000+int64(source.IntN(1e8)), 0)))
		}
		return
	case reflect.TypeFor[metav1.FieldsV1](), reflect.TypeFor[json.RawMessage]():
		raw := []byte(`{"a":[1,"x<y",null,1.5,true],"b":{}}`)
		if value.Kind() == reflect.Struct {
			value.Field(0).SetBytes(raw)
		} else {
			value.SetBytes(raw)
		}
		return
	}
	switch value.Kind() {
	case reflect.String:
		value.SetString(word(source))
	case reflect.Bool:
		value.SetBool(source.IntN(2) == 0)
	case reflect.Int32, reflect.Int64:
		value.SetInt([]int64{0, 1, -1, 30, 8080, 2147483647}[source.IntN(6)])
	case reflect.Pointer:
		value.Set(reflect.New(value.Type().Elem()))
		fill(source, value.Elem(), depth)
	case reflect.Slice:
		n := source.IntN(3)
		value.Set(reflect.MakeSlice(value.Type(), n, n))
		for i := range n {
			fill(source, value.Index(i), depth+1)
		}
	case reflect.Map:
		value.Set(reflect.MakeMap(value.Type()))
		for range source.IntN(3) {
			element := reflect.New(value.Type().Elem()).Elem()
			fill(source, element, depth+1)
			value.SetMapIndex(reflect.ValueOf("k"+word(source)).Convert(value.Type().Key()), element)
		}
	case reflect.Struct:
		for i := range value.NumField() {
			field := value.Field(i)
			sparse := field.Kind() == reflect.Pointer || field.Kind() == reflect.Slice || field.Kind() == reflect.Map
			if sparse && source.IntN(10) < min(depth+1, 5)+3 {
				continue
			}
			fill(source, field, depth+1)
		}
	}
}

func word(source *rand.Rand) string { return words[source.IntN(len(words))] }

func quantity(source *rand.Rand) string {
	sign := []string{"", "", "", "", "-", "+"}[source.IntN(6)]
	digits := []string{"0", "1", "12", "100", "1000", "1024", "1500", "2048", "123456", "1048576", "1000000000", "9223372036854775807", "18446744073709551616", "00012"}[source.IntN(14)]
	fraction := []string{"", "", "", ".", ".5", ".25", ".001", ".0001", ".500", ".123456789", ".0000000001", ".999999999999"}[source.IntN(12)]
	suffix := []string{"", "", "m", "u", "n", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3", "E-3", "e0", "e18", "e6", "e-9"}[source.IntN(23)]
	return sign + digits + fraction + suffix
}

func canonical(text string) string {
	parsed, err := resource.ParseQuantity(text)
	if err != nil {
		return "error"
	}
	return strings.Trim(marshal(parsed), `"`)
}

// Marshals, and takes away at random what Go would write anyway: empty values, and the order of keys.
func thinned(source *rand.Rand, value any) json.RawMessage {
	var plain any
	if err := json.Unmarshal([]byte(marshal(value)), &plain); err != nil {
		fail(err.Error())
	}
	return json.RawMessage(marshal(thin(source, plain)))
}

func thin(source *rand.Rand, value any) any {
	switch value := value.(type) {
	case map[string]any:
		var keys []string
		for key := range value {
			keys = append(keys, key)
		}
		sort.Strings(keys)
		for _, key := range keys {
			inner := thin(source, value[key])
			text := marshal(inner)
			if (text == "{}" || text == `""` || text == "null" || text == "0" || text == "false" || text == "[]") && source.IntN(2) == 0 {
				delete(value, key)
			} else {
				value[key] = inner
			}
		}
	case []any:
		for i := range value {
			value[i] = thin(source, value[i])
		}
	}
	return value
}
