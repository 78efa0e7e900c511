/** The optional peer, as far as it is used: types of the package itself are not needed where it is not installed. */
declare module "@aws-sdk/credential-provider-node" {
  export function defaultProvider(options: { readonly profile: string }): () => Promise<{
    readonly accessKeyId: string;
    readonly secretAccessKey: string;
    readonly sessionToken?: string;
    readonly expiration?: Date;
  }>;
}
