/* SPDX-License-Identifier: Apache-2.0 */
/* The little JSON that the plugin needs: writing strings right for every byte, finding a top-level string member. */
#ifndef CILIUM_CNI_JSON_H
#define CILIUM_CNI_JSON_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct buffer {
	char *data;
	size_t length, capacity;
};

static void append(struct buffer *to, const char *bytes, size_t count)
{
	if (to->length + count + 1 > to->capacity) {
		size_t capacity = (to->length + count + 1) * 2;
		char *grown = realloc(to->data, capacity);
		if (!grown)
			_exit(1);
		to->data = grown;
		to->capacity = capacity;
	}
	memcpy(to->data + to->length, bytes, count);
	to->length += count;
	to->data[to->length] = 0;
}

static void append_text(struct buffer *to, const char *text) { append(to, text, strlen(text)); }

/* Length of the UTF-8 sequence at `bytes` (RFC 3629), 0 when it is none. */
static size_t utf8_length(const unsigned char *bytes, size_t left)
{
	unsigned char lead = bytes[0];
	size_t need = lead < 0x80 ? 1 : lead >= 0xc2 && lead <= 0xdf ? 2 : (lead & 0xf0) == 0xe0 ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
	if (need == 0 || need > left)
		return 0;
	for (size_t i = 1; i < need; i++)
		if ((bytes[i] & 0xc0) != 0x80)
			return 0;
	if ((lead == 0xe0 && bytes[1] < 0xa0) || (lead == 0xed && bytes[1] > 0x9f) || (lead == 0xf0 && bytes[1] < 0x90) || (lead == 0xf4 && bytes[1] > 0x8f))
		return 0;
	return need;
}

/* Appends a JSON string; bytes that are no UTF-8 become U+FFFD. */
static void append_string(struct buffer *to, const char *text, size_t length)
{
	const unsigned char *bytes = (const unsigned char *)text;
	append(to, "\"", 1);
	for (size_t i = 0; i < length;) {
		size_t sequence = utf8_length(bytes + i, length - i);
		if (sequence == 0) {
			append_text(to, "\\ufffd");
			i++;
		} else if (bytes[i] < 0x20 || bytes[i] == 0x7f) {
			char escaped[8];
			snprintf(escaped, sizeof escaped, "\\u%04x", bytes[i++]);
			append_text(to, escaped);
		} else {
			if (bytes[i] == '"' || bytes[i] == '\\')
				append(to, "\\", 1);
			append(to, text + i, sequence);
			i += sequence;
		}
	}
	append(to, "\"", 1);
}

static void append_member(struct buffer *to, const char *name, const char *value)
{
	append_text(to, to->length > 1 ? ",\"" : "\"");
	append_text(to, name);
	append_text(to, "\":");
	append_string(to, value, strlen(value));
}

static size_t skip_space(const char *text, size_t length, size_t at)
{
	while (at < length && (text[at] == ' ' || text[at] == '\t' || text[at] == '\n' || text[at] == '\r'))
		at++;
	return at;
}

/* Index after the string that opens at `at`; 0 when it does not end. */
static size_t skip_string(const char *text, size_t length, size_t at)
{
	for (at++; at < length; at++) {
		if (text[at] == '\\')
			at++;
		else if (text[at] == '"')
			return at + 1;
	}
	return 0;
}

/* Index of the ',' or '}' after the value at `at`; 0 when the text ends before. */
static size_t skip_value(const char *text, size_t length, size_t at)
{
	for (size_t depth = 0; at < length;) {
		char c = text[at];
		if (c == '"') {
			at = skip_string(text, length, at);
			if (at == 0)
				return 0;
			continue;
		}
		if (depth == 0 && (c == ',' || c == '}'))
			return at;
		if (c == '{' || c == '[')
			depth++;
		if ((c == '}' || c == ']') && depth-- == 0)
			return 0;
		at++;
	}
	return 0;
}

/*
 * Copies the string member `name` of the object `text` into `out`. False when there is none, when it does
 * not fit, or when it holds an escape: the three keys that are read here (versions, paths) need none.
 */
static int top_member(const struct buffer *json, const char *name, char *out, size_t capacity)
{
	const char *text = json->data;
	size_t length = json->length, at = skip_space(text, length, 0);
	if (at >= length || text[at] != '{')
		return 0;
	for (;;) {
		at = skip_space(text, length, at + 1);
		size_t key = at + 1, end;
		if (at >= length || text[at] != '"' || (end = skip_string(text, length, at)) == 0)
			return 0;
		int matches = end - 1 - key == strlen(name) && memcmp(text + key, name, end - 1 - key) == 0;
		at = skip_space(text, length, end);
		if (at >= length || text[at] != ':')
			return 0;
		at = skip_space(text, length, at + 1);
		if (matches && at < length && text[at] == '"' && (end = skip_string(text, length, at)) != 0) {
			size_t count = end - at - 2;
			if (count >= capacity || memchr(text + at + 1, '\\', count) || memchr(text + at + 1, 0, count))
				return 0;
			memcpy(out, text + at + 1, count);
			out[count] = 0;
			return 1;
		}
		at = skip_value(text, length, at);
		if (at == 0 || text[at] == '}')
			return 0;
	}
}

#endif /* CILIUM_CNI_JSON_H */
