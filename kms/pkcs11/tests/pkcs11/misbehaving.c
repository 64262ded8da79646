/* A PKCS#11 library that misbehaves on purpose. It has one token with one AES key (label "unseal",
   id 01) and "encrypts" by an exclusive or. At each call it reads the file that the environment
   variable MISBEHAVIOUR names; a word there makes a function misbehave. Every C_Initialize
   (with the process id) and every C_Login is noted in the file's neighbour with ".log" at the end.
   Compiled with PAIR (and libcrypto) it has instead the RSA key in the file that the environment
   variable PAIR names, and knows no result for a wrong ciphertext but CKR_FUNCTION_FAILED. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long CK_ULONG;
typedef unsigned char CK_BYTE;
typedef CK_ULONG CK_RV;
typedef struct { CK_BYTE major, minor; } CK_VERSION;

enum {
    OK = 0, GENERAL_ERROR = 5, FUNCTION_FAILED = 6, DEVICE_ERROR = 0x30, DEVICE_REMOVED = 0x32, DEVICE_MEMORY = 0x31,
    ENCRYPTED_DATA_INVALID = 0x40,
    FUNCTION_NOT_SUPPORTED = 0x54, KEY_FUNCTION_NOT_PERMITTED = 0x68, PIN_INCORRECT = 0xA0, PIN_LOCKED = 0xA4, SESSION_COUNT = 0xB1,
    SESSION_HANDLE_INVALID = 0xB3, TOKEN_NOT_PRESENT = 0xE0, USER_NOT_LOGGED_IN = 0x101,
};

static int is(const char *word) {
    char text[64] = "";
    const char *path = getenv("MISBEHAVIOUR");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (file) {
        if (!fgets(text, sizeof text, file)) text[0] = 0;
        fclose(file);
    }
    text[strcspn(text, "\n")] = 0;
    return strcmp(text, word) == 0;
}

static void note(const char *what) {
    char path[512];
    snprintf(path, sizeof path, "%s.log", getenv("MISBEHAVIOUR") ? getenv("MISBEHAVIOUR") : "");
    FILE *file = fopen(path, "a");
    if (file) {
        fprintf(file, "%s\n", what);
        fclose(file);
    }
}

static void hang(void) { for (;;) pause(); }
static void crash(void) { *(volatile int *)8 = 1; }

static CK_ULONG last_session, stale_sessions;
static int logged_in, has_dropped, has_failed;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Once in the life of a process: sessions stay open, private objects are no longer seen. */
static int sees_private_objects(void) {
    pthread_mutex_lock(&lock);
    if (!has_dropped && is("login dropped")) { has_dropped = 1; logged_in = 0; }
    int sees = logged_in;
    pthread_mutex_unlock(&lock);
    return sees;
}

#ifdef PAIR
enum { MECHANISM = 9, KEY_TYPE = 0, KEY_CLASS = 3, MODULUS_BYTES = 256 };

/* Declared here, so that the library alone is needed, without its headers. */
extern void *PEM_read_PrivateKey(FILE *, void *, void *, void *);
extern int EVP_PKEY_get_bn_param(void *, const char *, void **);
extern int BN_bn2binpad(void *, CK_BYTE *, int);
extern void *EVP_PKEY_CTX_new(void *, void *);
extern void EVP_PKEY_CTX_free(void *);
extern int EVP_PKEY_decrypt_init(void *);
extern int EVP_PKEY_CTX_set_rsa_padding(void *, int);
extern int EVP_PKEY_CTX_set_rsa_oaep_md(void *, const void *);
extern int EVP_PKEY_CTX_set_rsa_mgf1_md(void *, const void *);
extern const void *EVP_sha256(void);
extern int EVP_PKEY_decrypt(void *, CK_BYTE *, size_t *, const CK_BYTE *, size_t);

static void *private_key(void) {
    static void *key;
    pthread_mutex_lock(&lock);
    if (!key) {
        FILE *file = fopen(getenv("PAIR"), "r");
        key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
        fclose(file);
    }
    pthread_mutex_unlock(&lock);
    return key;
}

static const CK_BYTE *modulus(void) {
    static __thread CK_BYTE bytes[MODULUS_BYTES];
    void *number = NULL;
    EVP_PKEY_get_bn_param(private_key(), "n", &number);
    BN_bn2binpad(number, bytes, MODULUS_BYTES);
    return bytes;
}

static CK_RV decrypt_oaep(CK_BYTE *in, CK_ULONG length, CK_BYTE *out, CK_ULONG *written) {
    if (!out) { *written = MODULUS_BYTES; return OK; }
    size_t bytes = *written;
    void *context = EVP_PKEY_CTX_new(private_key(), NULL);
    EVP_PKEY_decrypt_init(context);
    EVP_PKEY_CTX_set_rsa_padding(context, 4);
    EVP_PKEY_CTX_set_rsa_oaep_md(context, EVP_sha256());
    EVP_PKEY_CTX_set_rsa_mgf1_md(context, EVP_sha256());
    int is_done = EVP_PKEY_decrypt(context, out, &bytes, in, length);
    EVP_PKEY_CTX_free(context);
    *written = bytes;
    return is_done == 1 ? OK : FUNCTION_FAILED;
}
#else
enum { MECHANISM = 0x1087, KEY_TYPE = 0x1F, KEY_CLASS = 4 };
#endif

static CK_RV C_Initialize(void *arguments) {
    (void)arguments;
    char pid[32];
    snprintf(pid, sizeof pid, "pid %d", getpid());
    note(pid);
    if (is("initialize hangs")) hang();
    return OK;
}

static CK_RV C_GetSlotList(CK_BYTE present, CK_ULONG *slots, CK_ULONG *count) {
    (void)present;
    if (is("removed")) { *count = 0; return OK; }
    if (slots) slots[0] = 7;
    *count = 1;
    return OK;
}

typedef struct {
    CK_BYTE label[32], maker[32], model[16], serial[16];
    CK_ULONG flags, numbers[10];
    CK_VERSION hardware, firmware;
    CK_BYTE time[16];
} TokenInfo;

static CK_RV C_GetTokenInfo(CK_ULONG slot, TokenInfo *info) {
    (void)slot;
    memset(info, ' ', sizeof *info);
    memcpy(info->label, "bad", 3);
    memcpy(info->serial, "666", 3);
    info->flags = 0x40D; /* RNG, LOGIN_REQUIRED, USER_PIN_INITIALIZED, TOKEN_INITIALIZED */
    if (is("last try")) info->flags |= 0x20000;
    for (int i = 0; i < 10; i++) info->numbers[i] = 0;
    info->hardware = info->firmware = (CK_VERSION){1, 0};
    return OK;
}

static CK_RV C_GetMechanismList(CK_ULONG slot, CK_ULONG *list, CK_ULONG *count) {
    (void)slot;
    if (list) list[0] = MECHANISM;
    *count = 1;
    return OK;
}

static CK_RV C_OpenSession(CK_ULONG slot, CK_ULONG flags, void *a, void *b, CK_ULONG *session) {
    (void)slot; (void)flags; (void)a; (void)b;
    if (is("removed")) return TOKEN_NOT_PRESENT;
    if (is("no session")) return SESSION_COUNT;
    pthread_mutex_lock(&lock);
    *session = ++last_session;
    pthread_mutex_unlock(&lock);
    return OK;
}

static CK_RV C_CloseSession(CK_ULONG session) { (void)session; return OK; }

static CK_RV C_GetSessionInfo(CK_ULONG session, CK_ULONG *info) {
    (void)session;
    info[0] = 7;
    info[1] = sees_private_objects() ? 1 : 0;
    info[2] = 4;
    info[3] = 0;
    return OK;
}

static CK_RV C_Login(CK_ULONG session, CK_ULONG user, CK_BYTE *pin, CK_ULONG length) {
    (void)session; (void)user;
    note("login");
    if (is("login hangs")) hang();
    if (is("login crashes")) crash();
    if (is("locked")) return PIN_LOCKED;
    if (length != 4 || memcmp(pin, "1234", 4)) return PIN_INCORRECT;
    logged_in = 1;
    return OK;
}

static __thread int found;
static __thread CK_ULONG class_wanted;
static __thread CK_BYTE id_wanted;
typedef struct { CK_ULONG type; void *value; CK_ULONG length; } Attribute;

static CK_RV C_FindObjectsInit(CK_ULONG session, Attribute *template, CK_ULONG count) {
    (void)session;
    found = 0;
    id_wanted = 1;
    for (CK_ULONG i = 0; i < count; i++) {
        if (template[i].type == 0) class_wanted = *(CK_ULONG *)template[i].value;
        if (template[i].type == 0x102) id_wanted = *(CK_BYTE *)template[i].value;
    }
    return id_wanted != 1 && is("previous fails") ? FUNCTION_FAILED : OK;
}

static CK_RV C_FindObjects(CK_ULONG session, CK_ULONG *objects, CK_ULONG most, CK_ULONG *count) {
    (void)session; (void)most;
    *count = 0;
    if (!found++ && class_wanted == KEY_CLASS && sees_private_objects()) { objects[0] = id_wanted; *count = 1; }
    return OK;
}

static CK_RV C_FindObjectsFinal(CK_ULONG session) { (void)session; return OK; }

static CK_RV C_GetAttributeValue(CK_ULONG session, CK_ULONG object, Attribute *attributes, CK_ULONG count) {
    (void)session;
    CK_BYTE id = (CK_BYTE)object;
    CK_RV outcome = OK;
    for (CK_ULONG i = 0; i < count; i++) {
        CK_ULONG number = 0;
        const void *value = &number;
        CK_ULONG length = 1;
        switch (attributes[i].type) {
            case 0x100: number = KEY_TYPE; length = sizeof number; break;
#ifdef PAIR
            case 0x120: value = modulus(); length = MODULUS_BYTES; break;
            case 0x122: value = "\001\000\001"; length = 3; break;
#endif
            case 0x161: number = 32; length = sizeof number; break;   /* CKA_VALUE_LEN */
            case 0x003: value = "unseal"; length = 6; break;
            case 0x102: value = &id; break;
            case 0x104: case 0x105: number = 1; break; /* encrypt, decrypt */
            case 0x106: case 0x107: case 0x162: break; /* wrap, unwrap, extractable */
            default:
                attributes[i].length = ~0UL;
                outcome = 0x12; /* CKR_ATTRIBUTE_TYPE_INVALID */
                continue;
        }
        if (is("attributes are garbage")) length = 1UL << 62;
        if (attributes[i].value && attributes[i].length >= length) memcpy(attributes[i].value, value, length);
        attributes[i].length = length;
    }
    return outcome;
}

static CK_RV usable(CK_ULONG session) {
    if (is("removed")) return DEVICE_REMOVED;
    if (is("device error")) return DEVICE_ERROR;
    if (is("sessions expire")) {
        pthread_mutex_lock(&lock);
        if (!stale_sessions) { stale_sessions = last_session; logged_in = 0; }
        pthread_mutex_unlock(&lock);
    }
    return session <= stale_sessions ? SESSION_HANDLE_INVALID : OK;
}

static CK_RV C_EncryptInit(CK_ULONG session, void *mechanism, CK_ULONG key) {
    (void)mechanism;
    if (key != 1 && (is("previous decrypt only") || is("previous decrypt only, and nothing works")))
        return KEY_FUNCTION_NOT_PERMITTED;
    return usable(session);
}

static CK_RV C_DecryptInit(CK_ULONG session, void *mechanism, CK_ULONG key) {
    (void)mechanism; (void)key;
    return usable(session);
}

static CK_RV C_Encrypt(CK_ULONG session, CK_BYTE *in, CK_ULONG length, CK_BYTE *out, CK_ULONG *written) {
    (void)session;
    if (is("broken")) return GENERAL_ERROR;
    if (is("busy after a failure") && has_failed) return DEVICE_MEMORY;
    if (out) {
        for (CK_ULONG i = 0; i < length; i++) out[i] = in[i] ^ 0x55;
        memset(out + length, 0x77, 16);
    }
    *written = length + 16;
    return OK;
}

static CK_RV C_Decrypt(CK_ULONG session, CK_BYTE *in, CK_ULONG length, CK_BYTE *out, CK_ULONG *written) {
    (void)session;
    if (is("decrypt hangs")) hang();
    if (is("decrypt crashes")) crash();
    if (is("decrypt exits")) _exit(3);
    if (is("broken") || is("previous decrypt only, and nothing works")) return GENERAL_ERROR;
    if (is("link dead")) return FUNCTION_FAILED;
    if (is("garbage length") && !out) { *written = 1UL << 62; return OK; }
    if (is("long answer")) { if (!out) { *written = 4096; return OK; } memset(out, 9, 4096); *written = 4096; return OK; }
    if (is("no answer")) { *written = 0; return OK; }
#ifdef PAIR
    if (has_failed && is("busy after a failure")) return DEVICE_MEMORY;
    CK_RV result = decrypt_oaep(in, length, out, written);
    if (result != OK) has_failed = 1;
    return result;
#endif
    if (length != 48) return ENCRYPTED_DATA_INVALID;
    for (int i = 32; i < 48; i++)
        if (in[i] != 0x77) { has_failed = 1; return GENERAL_ERROR; }
    if (out) for (CK_ULONG i = 0; i < 32; i++) out[i] = in[i] ^ 0x55;
    *written = 32;
    return OK;
}

static CK_RV unsupported(void) { return FUNCTION_NOT_SUPPORTED; }

/* CK_FUNCTION_LIST of PKCS#11 2.40: a version and 68 functions in this order. */
static struct { CK_VERSION version; void *functions[68]; } list = {{2, 40}, {0}};

CK_RV C_GetFunctionList(void **answer) {
    for (int i = 0; i < 68; i++) list.functions[i] = (void *)unsupported;
    void **f = list.functions;
    f[0] = C_Initialize;
    f[3] = C_GetFunctionList;
    f[4] = C_GetSlotList;
    f[6] = C_GetTokenInfo;
    f[7] = C_GetMechanismList;
    f[12] = C_OpenSession;
    f[13] = C_CloseSession;
    f[15] = C_GetSessionInfo;
    f[18] = C_Login;
    f[24] = C_GetAttributeValue;
    f[26] = C_FindObjectsInit;
    f[27] = C_FindObjects;
    f[28] = C_FindObjectsFinal;
    f[29] = C_EncryptInit;
    f[30] = C_Encrypt;
    f[33] = C_DecryptInit;
    f[34] = C_Decrypt;
    *answer = &list;
    return OK;
}
